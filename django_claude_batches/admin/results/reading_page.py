"""A result's page: its question and its answer side by side, and its neighbors in the list from which it was opened."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from django.contrib.admin.views.main import SEARCH_VAR
from django.db.models.functions import Substr
from django.http import HttpRequest
from django.utils.text import Truncator
from django.utils.translation import gettext as _

from django_claude_batches.admin.base import display
from django_claude_batches.admin.base.filters import BATCH
from django_claude_batches.admin.base.question import conversation
from django_claude_batches.admin.results.excerpts import kinds_of_blocks
from django_claude_batches.admin.results.export_form import ERROR_TYPE, asked
from django_claude_batches.admin.results.filters import TierFilter
from django_claude_batches.admin.results.reading_order import ReadingOrder
from django_claude_batches.export.selection import ResultSelection
from django_claude_batches.models import BatchRequest, BatchResult

# Characters of a request's params that are read.
MAX_PARAMS = 200_000

# Fields of an output that are shown as a table, and characters of each; the whole output is below.
MAX_FIELDS = 200
MAX_VALUE = 10_000

# Django's parameter of a row's page: the query string of the list from which it was opened.
FILTERS = "_changelist_filters"


@dataclass(frozen=True, slots=True)
class Panel:
    """A text under a heading, or the fields of an output. `note` says that the text is missing or was cut."""

    heading: Any
    text: str = ""
    note: str = ""
    fields: tuple[tuple[str, str], ...] = ()


def read_request(row: BatchResult) -> None:
    """Read the result's request with the beginning of its params, and its batch; one query."""
    requests: Any = BatchRequest.objects.using(row._state.db).select_related("batch").defer("params_text")
    found = requests.annotate(start=Substr("params_text", 1, MAX_PARAMS)).filter(pk=row.request_id).first()
    row.request = found
    if found is not None:
        row.batch = found.batch


def question(row: BatchResult) -> list[Panel]:
    """Return the panels of the question, to be shown only to users who may view requests; empty if it is not known."""
    found: Any = row.request
    if found is None:
        return []
    if not found.start:
        found.params_text = ""
        return [Panel(_("Question"), note=found.purge_note)]
    system, asked_for = conversation(found.start)
    is_cut = len(found.start) == MAX_PARAMS
    note = _("Only the beginning is shown. The page of the request has all of it.") if is_cut else ""
    panels = [_panel(_("Question"), asked_for, note)]
    return [*panels, _panel(_("System prompt"), system)] if system else panels


def answer(row: BatchResult) -> Panel:
    """Return the answer: the fields of its output, its text, its error, or why there is none."""
    heading = _("Answer")
    if row.purge_note:
        return Panel(heading, row.error_type, row.purge_note)
    if isinstance(row.output, dict) and row.output:
        return Panel(heading, fields=tuple(_fields(row.output)))
    error = ": ".join(filter(None, [row.error_type, row.error_message]))
    output = "" if row.output is None else display.pretty(row.output)
    return _panel(heading, output or row.text or error or kinds_of_blocks(row.message))


def _panel(heading: Any, text: str, note: str = "") -> Panel:
    shown, was_cut = display.shortened(text)
    return Panel(heading, shown, " ".join(filter(None, [note, was_cut])))


def _fields(output: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in list(output.items())[:MAX_FIELDS]:
        yield name, Truncator(_value(value)).chars(MAX_VALUE)


def _value(value: Any) -> str:
    """Return a text as it is, a list of texts as one line, and other values as JSON."""
    texts = value if isinstance(value, list) and value else [value]
    return ", ".join(texts) if all(isinstance(each, str) for each in texts) else display.pretty(value)


def neighbors(request: HttpRequest, row: BatchResult, results: Any) -> Iterator[tuple[str, BatchResult]]:
    """Yield label and row of the previous and the next result, within the list from which the page was opened.

    Two queries.
    """
    order = ReadingOrder(row.batch)
    if order.key != "custom_id" and row.request is None:
        return
    key = row.custom_id if row.request is None else row.request.position
    key = row.custom_id if order.key == "custom_id" else key
    listed = _listed(request, row).apply(results.filter(batch=row.batch_id)).only("custom_id")
    for label, rows in ((_("Previous"), order.before(listed, key)), (_("Next"), order.after(listed, key))):
        if (found := rows.first()) is not None:
            yield label, found


def _listed(request: HttpRequest, row: BatchResult) -> ResultSelection:
    """Return the conditions of the list from which the page was opened, if it was the list of its batch."""
    filters = dict(parse_qsl(request.GET.get(FILTERS, ""), keep_blank_values=True))
    chosen = asked(filters) if filters.get(BATCH) == str(row.batch_id) else {}
    tier = chosen.get(TierFilter.parameter_name)
    return ResultSelection(
        outcomes=[chosen["outcome"]] if "outcome" in chosen else [],
        error_types=[chosen[ERROR_TYPE]] if ERROR_TYPE in chosen else [],
        of_another_tier=tier == "of_another_tier",
        of_unknown_cost=tier == "of_unknown_cost",
        beginning=chosen.get(SEARCH_VAR, "").strip(),
    )
