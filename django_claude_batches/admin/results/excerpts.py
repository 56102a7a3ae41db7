"""Excerpts of answers for a list of results: one query for a page, which does not read long answers."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.db.models import Case, Expression, F, JSONField, When
from django.utils.translation import gettext as _

from django_claude_batches.models.large_columns import StoredBytes

# Stored bytes of the largest message that is read for a row of a list.
MAX_STORED_BYTES = 65_536

# Characters of an excerpt.
MAX_CHARACTERS = 160

# Columns that are read with the short message: for errors, costs, targets, and notes about a purge (on the batch) and
# an erasure (on the request).
COLUMNS = (
    *("result_type", "error_type", "error_message"),
    *("batch__result_bodies_purged_at", "batch__result_purge_began_at", "batch__prices_as_of"),
    *("request__erased_at", "request__content_type", "request__object_id"),
)


def short_message() -> Expression:
    """Return an expression for the message, or NULL if it is longer than MAX_STORED_BYTES."""
    return Case(When(size__lte=MAX_STORED_BYTES, then=F("message")), output_field=JSONField())


def stored_size() -> Expression:
    return StoredBytes("message")


def with_excerpts(results: Any, pks: Collection[int]) -> dict[int, Any]:
    """Return the results with the columns that `excerpt` and the target column need, by primary key; one query."""
    rows = results.filter(pk__in=pks).order_by().select_related("batch", "request").only(*COLUMNS)
    found = {}
    for row in rows.annotate(size=stored_size()).annotate(short_message=short_message()):
        row.message = row.short_message
        found[row.pk] = row
    return found


def excerpt(row: Any) -> str:
    """Return the beginning of the answer on one line, or its error, or why there is none.

    `row` comes from `with_excerpts`.
    """
    if (row.size or 0) > MAX_STORED_BYTES:
        return _("long answer")
    if row.purge_note:
        return " ".join(filter(None, [row.error_type, row.purge_note]))
    error = ": ".join(filter(None, [row.error_type, row.error_message]))
    return _cut(row.text or error or kinds_of_blocks(row.message))


def kinds_of_blocks(message: Any) -> str:
    """Return the types of an answer's blocks in brackets, such as `[tool_use]`, for an answer without text."""
    content = message.get("content") if isinstance(message, dict) else None
    blocks = [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []
    return ", ".join(f"[{block.get('type')}]" for block in blocks)


def _cut(text: str) -> str:
    line = " ".join(text[: 8 * MAX_CHARACTERS].split())
    return line if len(line) <= MAX_CHARACTERS else f"{line[: MAX_CHARACTERS - 1]}…"
