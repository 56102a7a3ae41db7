"""Call the job's handlers for some rows of a delivery, in one transaction with the mark that these are delivered."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.db import transaction

from django_claude_batches.db.leases import LEASE, DatabaseNow, now_plus
from django_claude_batches.exceptions import LeaseLost
from django_claude_batches.job_registry import Job
from django_claude_batches.models import DeliveryChunk, DeliveryMode, FailedDelivery
from django_claude_batches.models.bulk import write_outputs
from django_claude_batches.models.delivery import REDELIVERY_MODES, failure_columns
from django_claude_batches.sanitize import get_logger
from django_claude_batches.services.delivery.call_handlers import DeliveryCounts, call_handlers, count_failure
from django_claude_batches.services.delivery.slice import Slice, read_slice

logger = get_logger(__name__)


def deliver_slice(pk: int, token: str, job: Job, *, alone: bool = False, failure: Exception | None = None) -> bool:
    """Deliver the next rows of a chunk in one transaction; return whether it has more rows.

    The rows are read, and their answers checked, before the transaction, since a check may take long. If something has
    changed since, the transaction does nothing. Return False if the lease is lost or the run is paused.

    With `alone`, deliver one row. With `failure`, the error of its transaction, record that as its handler's.
    """
    using = DeliveryChunk.objects.primary().db
    rows = read_slice(pk, token, job if failure is None else None, alone=alone, using=using)
    if rows is None:
        return False
    try:
        with transaction.atomic(using=using, durable=True):
            if not rows.lock(token, using=using):
                return True  # the next call reads the rows again
            counts = call_handlers(rows, job, using=using) if failure is None else count_failure(rows, failure)
            write_outputs(rows.changed, using=using)
            has_more = _record_progress(rows, counts, token, alone=alone, using=using)
    except LeaseLost:
        logger.warning("Delivery %s: another process has it now.", pk)
        return False
    finally:
        for request in rows.requests:  # break the reference cycle with its result, so that memory is freed at once
            request._state.fields_cache.clear()
    if counts.first_error is not None:
        numbers = rows.chunk.batch_id, len(counts.failed_deliveries), len(counts.processed)
        text = "Batch %s: the job's code raised for %d of %d rows. The first:"
        logger.error(text, *numbers, exc_info=counts.first_error)
    return has_more


def _record_progress(rows: Slice, counts: DeliveryCounts, token: str, *, alone: bool, using: str) -> bool:
    """Write what became of the rows, and how far the chunk is; return whether it has more rows."""
    chunk = rows.chunk
    delivered_before, failed_before = _counted_before(rows, counts, using=using)
    if counts.failed_deliveries or chunk.mode != DeliveryMode.FIRST or chunk.positions is not None:
        for each in counts.failed_deliveries:
            each.was_delivered = each.position in delivered_before
        _replace_failed_deliveries(rows, counts, using=using)
    failed = [row for row in counts.failed if row[0] not in failed_before | delivered_before]
    next_position = counts.processed[-1] + 1 if counts.processed else chunk.position
    has_more = bool(counts.processed) and next_position <= chunk.last_position
    changes: dict[str, Any] = {
        "position": next_position,
        "outcomes": dict(Counter(chunk.outcomes) + counts.outcomes),
        "delivered_count": chunk.delivered_count + len(counts.delivered - delivered_before),
        "invalid_count": chunk.invalid_count + rows.invalid_count,
        "gone_count": chunk.gone_count + counts.gone,
        **failure_columns(chunk.failed + failed),
        "to_retry": chunk.to_retry + counts.to_retry,
        "lease_until": now_plus(LEASE),
        # If rows are alone, the one that killed the processes before may still follow.
        "failures": chunk.failures if alone else 1,
        "last_error": "",
    }
    if not has_more:
        changes |= {"done_at": DatabaseNow(), "next_action_at": None, "failures": 0}
    # The row is locked since the lease was renewed, however long ago: comparing the time too would lose work.
    if not DeliveryChunk.objects.using(using).filter(pk=chunk.pk, lease_token=token).update(**changes):
        raise LeaseLost(f"The lease on delivery {chunk.pk} is lost.")
    return has_more


def _replace_failed_deliveries(rows: Slice, counts: DeliveryCounts, *, using: str) -> None:
    """Store the failed deliveries, in place of the earlier ones of the rows that were processed.

    Where all answers are redelivered, the earlier ones of rows without a usable answer or a target stay.
    """
    over = set(counts.processed)
    if rows.chunk.mode == DeliveryMode.REDELIVER:
        over = counts.delivered.union(each.position for each in counts.failed_deliveries)
    pks = [request.pk for request in rows.requests if request.position in over]
    FailedDelivery.objects.using(using).filter(request__in=pks).delete()
    FailedDelivery.objects.using(using).bulk_create(counts.failed_deliveries, batch_size=100)  # of 20 KB at most, each


def _counted_before(rows: Slice, counts: DeliveryCounts, *, using: str) -> tuple[set[int], set[int]]:
    """Return the positions that counted as delivered before, and those that counted as failed.

    A row counts as delivered once, and as failed once until it is delivered: failures of rows that are delivered now
    are withdrawn. Nothing else changes what failed until this transaction ends.
    """
    positions = {row.position for row in counts.failed_deliveries}.union(counts.delivered, dict(counts.failed))
    if rows.chunk.mode not in REDELIVERY_MODES or not positions:
        return set(), set()
    failed: set[int] = set()
    chunks = DeliveryChunk.objects.using(using)
    for other in chunks.locked_failures(rows.chunk.batch_id, last_position__gte=min(positions)):
        before = positions.intersection(dict(other.failed))
        failed |= before
        if before & counts.delivered:
            other.withdraw_failures(counts.delivered)
    known = {each.position: rows.failures[each.pk].was_delivered for each in rows.requests if each.pk in rows.failures}
    return {position for position in positions if known.get(position, position not in failed)}, failed
