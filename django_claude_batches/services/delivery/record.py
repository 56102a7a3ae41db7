"""What became of the rows of a delivery transaction, and how it is written in that transaction."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from django_claude_batches import sanitize
from django_claude_batches.db.leases import LEASE, DatabaseNow, now_plus
from django_claude_batches.error_text import format_with_traceback
from django_claude_batches.exceptions import LeaseLost
from django_claude_batches.models import BatchRequest, DeliveryChunk, DeliveryMode, FailedDelivery
from django_claude_batches.models.delivery import REDELIVERY_MODES
from django_claude_batches.services.delivery.evaluation import RetryChange, RowOutcome
from django_claude_batches.services.delivery.slice import Slice

# Characters kept of a traceback's end: the column would keep the beginning of a longer text.
MAX_TRACEBACK = sanitize.MAX_TEXT - 1_000


class RowRecord(NamedTuple):
    """What became of one row."""

    # None: the job's validator raised.
    outcome: str | None
    is_delivered: bool = False
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
        if row.is_delivered:
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


def record_progress(rows: Slice, counts: DeliveryCounts, token: str, *, alone: bool, using: str) -> bool:
    """Write what became of the rows, and how far the chunk is; return whether it has more rows.

    Raise LeaseLost if another process has it. Call it inside the delivery's transaction, after the handlers.
    """
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
        "failed_count": chunk.failed_count + len(failed),
        "gone_count": chunk.gone_count + counts.gone,
        "failed": chunk.failed + failed,
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
