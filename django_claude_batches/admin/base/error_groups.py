"""The errors of a batch, grouped by type."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Count

from django_claude_batches.models import BatchResult, MessageBatch
from django_claude_batches.models.batch_state import FETCHING
from django_claude_batches.models.usage import MAX_ERROR_GROUPS


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    error_type: str
    rows: int


def error_groups(batch: MessageBatch) -> list[ErrorGroup]:
    """Return the kinds of error that were counted when the results were last fetched, the most frequent first."""
    return _stored(batch.error_groups)


def error_groups_now(batch: MessageBatch) -> list[ErrorGroup]:
    """Return the kinds of error of the rows stored so far. While results are being stored, an index counts them."""
    is_counted = batch.error_groups is not None and batch.state not in FETCHING
    return error_groups(batch) if is_counted else _count(batch.pk)


def _stored(groups: list[dict[str, int | str]] | None) -> list[ErrorGroup]:
    return [ErrorGroup(str(group["error_type"]), int(group["count"])) for group in groups or []]


def _count(batch_id: int) -> list[ErrorGroup]:
    errored = BatchResult.objects.primary().errored().filter(batch=batch_id)
    counted = errored.values_list("error_type").annotate(rows=Count("*")).order_by("-rows", "error_type")
    return [ErrorGroup(*row) for row in counted[:MAX_ERROR_GROUPS]]
