"""Call the job's handlers with the rows of a slice, and count what becomes of them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from django.core.exceptions import ValidationError
from django.db import models, router

from django_claude_batches import sanitize
from django_claude_batches.drafting.target import content_types_of
from django_claude_batches.error_text import format_with_traceback
from django_claude_batches.job_registry import Job
from django_claude_batches.models import BatchRequest, BatchResult, DeliveryMode, FailedDelivery
from django_claude_batches.services.delivery.retry_rules import RetryChange, RowOutcome, retry_change
from django_claude_batches.services.delivery.slice import Slice, result_of
from django_claude_batches.services.job_calls import call_handler, sync_result

# After this, a transaction ends before its rows do: handlers may be slow, and others wait for what they locked.
MAX_TRANSACTION_SECONDS = 10.0

# By their content types' primary keys, and their own as texts.
Targets = dict[tuple[int | None, str | None], models.Model]

# Characters kept of a traceback's end: the column would keep the beginning of a longer text.
MAX_TRACEBACK = sanitize.MAX_TEXT - 1_000


class RowRecord(NamedTuple):
    """What became of one row."""

    # None: the job's validator raised.
    outcome: str | None
    is_failed: bool = False
    is_gone: bool = False
    retry: RetryChange | None = None
    # What the job's code raised.
    error: Exception | None = None


@dataclass(slots=True)
class DeliveryCounts:
    """What became of the rows of one transaction. Of the errors only the first is kept: each keeps its frames alive."""

    # Positions of the rows, as are those below.
    processed: list[int] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    delivered: set[int] = field(default_factory=set)
    failed: list[list[Any]] = field(default_factory=list)
    to_retry: list[list[Any]] = field(default_factory=list)
    gone: int = 0
    failed_deliveries: list[FailedDelivery] = field(default_factory=list)
    first_error: Exception | None = None

    def add(self, request: BatchRequest, row: RowRecord) -> None:
        position = request.position
        self.processed.append(position)
        self.gone += row.is_gone
        if row.outcome is not None:
            self.outcomes[row.outcome] += 1
        if row.outcome == RowOutcome.SUCCEEDED and row.error is None and not row.is_gone:
            self.delivered.add(position)
        if row.is_failed:
            self.failed.append([position, row.outcome])
        if row.retry is not None:
            self.to_retry.append([position, row.retry])
        if row.error is not None:
            self.failed_deliveries.append(_failed_delivery(request, row.outcome or RowOutcome.SUCCEEDED, row.error))
            self.first_error = self.first_error or row.error


def _failed_delivery(request: BatchRequest, outcome: str, error: Exception) -> FailedDelivery:
    return FailedDelivery(
        batch_id=request.batch_id,
        request=request,
        position=request.position,
        outcome=outcome,
        error=f"{type(error).__name__}: {error}",
        traceback=format_with_traceback(error, MAX_TRACEBACK),
    )


def call_handlers(rows: Slice, job: Job, *, using: str) -> DeliveryCounts:
    """Deliver the rows that were evaluated, until the time is over; return what became of them."""
    counts = DeliveryCounts()
    requests = rows.requests[: len(rows.outcomes)]
    targets = _targets_of(requests, job, using=using)
    stop_at = time.monotonic() + MAX_TRANSACTION_SECONDS
    for request, outcome in zip(requests, rows.outcomes, strict=True):
        counts.add(request, _deliver_row(request, outcome, rows, job, targets, using=using))
        if time.monotonic() > stop_at:
            break
    return counts


def _deliver_row(
    request: BatchRequest, outcome: str | Exception, rows: Slice, job: Job, targets: Targets, *, using: str
) -> RowRecord:
    if isinstance(outcome, Exception):
        return RowRecord(None, error=outcome)
    if request.erased_at is not None:
        return RowRecord(outcome, is_gone=True)
    handler, is_failed = "on_result", False
    if outcome != RowOutcome.SUCCEEDED:
        if rows.chunk.mode == DeliveryMode.REDELIVER:
            return RowRecord(outcome)
        if rows.chunk.mode == DeliveryMode.FIRST and (change := retry_change(request, outcome, job, using=using)):
            return RowRecord(outcome, retry=change)
        handler, is_failed = "on_failure", not rows.failed_as(request)
    key = (request.content_type_id, request.object_id)
    target = targets.get(key)
    if target is None:
        return RowRecord(outcome, is_failed=is_failed, is_gone=True)
    error = call_handler(job, handler, target, result_of(request) or _missing_result(request), using=using)
    if error is not None and key not in _targets_of([request], job, using=using):  # it was deleted since
        return RowRecord(outcome, is_failed=is_failed, is_gone=True)
    return RowRecord(outcome, is_failed=is_failed, error=error)


def _missing_result(request: BatchRequest) -> BatchResult:
    """Return what `on_failure` gets if no result came: a result that is in no table."""
    return BatchResult(
        batch=request.batch, request=request, custom_id=request.custom_id, result_type="missing", message=None
    )


def count_failure(rows: Slice, failure: Exception) -> DeliveryCounts:
    """Count the one row, whose transaction failed, as a failed delivery."""
    if not rows.requests:
        raise failure
    request = rows.requests[0]
    failed_as, result = rows.failed_as(request), result_of(request)
    outcome = failed_as or (RowOutcome.MISSING if result is None else result.outcome)
    is_failed = not failed_as and outcome != RowOutcome.SUCCEEDED and rows.chunk.mode != DeliveryMode.REDELIVER
    counts = DeliveryCounts()
    counts.add(request, RowRecord(outcome, is_failed=is_failed, error=failure))
    return counts


def _targets_of(requests: Iterable[BatchRequest], job: Job, *, using: str) -> Targets:
    """Fetch the targets of requests from this database, in one query for each model.

    The job fetches those of its own model. Others, which requests that no run drafted may have, are read by their base
    manager from the database that they are written to.
    """
    content_types = content_types_of(using)
    wanted: dict[int, list[str]] = {}
    for request in requests:
        if request.content_type_id is not None and request.object_id is not None:
            wanted.setdefault(request.content_type_id, []).append(request.object_id)
    found: Targets = {}
    for content_type, pks in wanted.items():
        model = content_types.get_for_id(content_type).model_class()
        if model is not None:
            # Not by `row.pk`: a manager may return rows of a child model, which has a key of its own.
            key = model._meta.concrete_model._meta.pk.attname  # type: ignore[union-attr]
            found |= {(content_type, str(getattr(row, key))): row for row in _rows(model, pks, job)}
    return found


def _rows(model: type[models.Model], pks: list[str], job: Job) -> Iterator[models.Model]:
    concrete: Any = model._meta.concrete_model
    if job.row_model is None or job.row_model._meta.concrete_model is not concrete:
        yield from model._base_manager.using(router.db_for_write(model)).filter(pk__in=pks)
        return
    rows = job.get_targets([_key(concrete, pk) for pk in pks])
    for row in sync_result(job, "get_targets", rows):
        if not isinstance(row, concrete):
            name = f"{type(job).__name__}.get_targets()"
            raise TypeError(f"{name} must return rows of {concrete._meta.label}, not {row!r:.100}")
        yield row


def _key(model: type[models.Model], text: str) -> Any:
    """Return a primary key as its field has it; the text where the field reads none, such as one that encrypts."""
    try:
        return model._meta.pk.to_python(text)
    except (ValidationError, TypeError, ValueError):
        return text
