"""Call the job's handlers for some rows of a delivery, in one transaction with the mark that these are delivered."""

from __future__ import annotations

import time

from django.db import transaction

from django_claude_batches.exceptions import LeaseLost
from django_claude_batches.job_registry import Job
from django_claude_batches.models import BatchRequest, BatchResult, DeliveryChunk, DeliveryMode
from django_claude_batches.models.bulk import write_outputs
from django_claude_batches.printable import get_logger
from django_claude_batches.services.delivery.evaluation import AutomaticRetries, RowOutcome
from django_claude_batches.services.delivery.record import DeliveryCounts, RowRecord, record_progress
from django_claude_batches.services.delivery.slice import Slice, evaluate, read_chunk, read_slice, result_of
from django_claude_batches.services.delivery.targets import Targets, target_key, targets_of
from django_claude_batches.services.job_calls import call_handler

logger = get_logger(__name__)

# After this, a transaction ends before its rows do: handlers may be slow, and others wait for what they locked.
MAX_TRANSACTION_SECONDS = 10.0


def deliver_slice(pk: int, token: str, job: Job, *, alone: bool = False, failure: Exception | None = None) -> bool:
    """Deliver the next rows of a chunk in one transaction; return whether it has more rows.

    The rows are read, and their answers checked, before the transaction, since a check may take long. The transaction
    does nothing if the rows were delivered by another process since. If the lease is lost or the run is paused, return
    False.

    With `alone`, deliver one row. With `failure`, call no handler: the row's transaction failed with this error, which
    is recorded as that of its handler.
    """
    using = DeliveryChunk.objects.primary().db
    chunk = read_chunk(pk, token, using=using)
    if chunk is None:
        return False
    rows = read_slice(chunk, alone=alone, using=using)
    try:
        outcomes, changed = evaluate(rows, job) if failure is None else ([], [])
        with transaction.atomic(using=using, durable=True):
            # Renewing the lease also locks the row: a worker whose lease expired blocks until this commits, then finds
            # it lost.
            is_mine = DeliveryChunk.objects.using(using).renew(pk, token)
            if not is_mine or (chunk := read_chunk(pk, token, using=using)) is None:
                return False
            if rows.is_outdated(chunk, using=using):
                return True
            rows.set_chunk(chunk)
            counts = _call_handlers(rows, outcomes, job, using=using) if failure is None else _fail(rows, failure)
            write_outputs(changed, using=using)
            has_more = record_progress(rows, counts, token, alone=alone, using=using)
    except LeaseLost:
        logger.warning("Delivery %s: another process has it now.", pk)
        return False
    finally:
        rows.break_reference_cycles()
    if counts.first_error is not None:
        numbers = rows.chunk.batch_id, len(counts.failed_deliveries), len(counts.processed)
        text = "Batch %s: the job's code raised for %d of %d rows. The first:"
        logger.error(text, *numbers, exc_info=counts.first_error)
    return has_more


def _call_handlers(rows: Slice, outcomes: list[str | Exception], job: Job, *, using: str) -> DeliveryCounts:
    """Deliver the rows that were evaluated, until the time is over; return what became of them."""
    counts = DeliveryCounts()
    requests = rows.requests[: len(outcomes)]
    targets = targets_of(requests, job, using=using)
    # What is redelivered, or was not retried, is not retried automatically.
    is_first = rows.chunk.mode == DeliveryMode.FIRST
    retries = AutomaticRetries(rows.chunk.batch, job, using=using) if is_first else None
    stop_at = time.monotonic() + MAX_TRANSACTION_SECONDS
    for request, outcome in zip(requests, outcomes, strict=True):
        if isinstance(outcome, Exception):
            row = RowRecord(None, error=outcome)
        elif request.erased_at is not None:
            row = RowRecord(outcome, is_gone=True)
        elif retries is not None and (change := retries.change(request, result_of(request), outcome)) is not None:
            row = RowRecord(outcome, retry=change)
        else:
            row = _call_handler(request, outcome, rows, job, targets, using=using)
        counts.add(request, row)
        if time.monotonic() > stop_at:
            break
    return counts


def _call_handler(
    request: BatchRequest, outcome: str, rows: Slice, job: Job, targets: Targets, *, using: str
) -> RowRecord:
    """Call `on_result` or `on_failure` with the request's target and result; a row whose target was deleted is gone."""
    is_success = outcome == RowOutcome.SUCCEEDED
    if not is_success and rows.chunk.mode == DeliveryMode.REDELIVER:
        return RowRecord(outcome)
    is_failed = not is_success and not rows.failed_as(request)
    key = target_key(request)
    target = targets.get(key)
    if target is None:
        return RowRecord(outcome, is_failed=is_failed, is_gone=True)
    result = result_of(request) or _missing_result(request)
    error = call_handler(job, "on_result" if is_success else "on_failure", target, result, using=using)
    if error is None:
        return RowRecord(outcome, is_delivered=is_success, is_failed=is_failed)
    if key in targets_of([request], job, using=using):
        return RowRecord(outcome, is_failed=is_failed, error=error)
    return RowRecord(outcome, is_failed=is_failed, is_gone=True)


def _fail(rows: Slice, failure: Exception) -> DeliveryCounts:
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


def _missing_result(request: BatchRequest) -> BatchResult:
    """Return what `on_failure` gets if no result came: a result that is in no table."""
    return BatchResult(
        batch=request.batch, request=request, custom_id=request.custom_id, result_type="missing", message=None
    )
