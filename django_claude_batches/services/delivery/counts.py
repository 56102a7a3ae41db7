from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django_claude_batches.models import BatchRequest, DeliveryChunk, FailedDelivery
from django_claude_batches.models.delivery import REDELIVERY_MODES


@dataclass(slots=True)
class DeliveryCounts:
    """What became of the rows of one transaction of a delivery."""

    outcomes: Counter[str] = field(default_factory=Counter)
    processed: list[BatchRequest] = field(default_factory=list)
    delivered: list[int] = field(default_factory=list)
    delivered_before: int = 0
    """Those of the delivered ones that were counted at an earlier delivery."""
    failed: list[list[Any]] = field(default_factory=list)
    to_retry: list[list[Any]] = field(default_factory=list)
    passed_over: set[int] = field(default_factory=set)
    gone: int = 0
    parked: list[FailedDelivery] = field(default_factory=list)
    first_error: Exception | None = None


def recount(chunk: DeliveryChunk, tally: DeliveryCounts, parked: Mapping[int, bool], *, using: str) -> None:
    """Leave in the tally what is new: each row counts as delivered once, and as failed once until it is delivered.

    What failed before and was taken now is not to be asked again. `parked` has the position of each row that was
    parked, and whether it counts as delivered. Inside the delivery's transaction, after its handlers: until it ends,
    nobody else changes what failed.
    """
    taken = set(tally.delivered)
    positions = taken | {position for position, _outcome in tally.failed} | {row.position for row in tally.parked}
    if chunk.mode not in REDELIVERY_MODES or not positions:
        return
    failed: set[int] = set()
    for other in DeliveryChunk.objects.using(using).locked_failures(chunk.batch_id, last_position__gte=min(positions)):
        before = positions.intersection(position for position, _outcome in other.failed)
        failed |= before
        if before & taken:
            other.withdraw_failures(taken)
    counted = {position for position in positions if parked.get(position, position not in failed)}
    tally.delivered_before = len(taken & counted)
    tally.failed = [row for row in tally.failed if row[0] not in failed | counted]
    for row in tally.parked:
        row.was_delivered = row.position in counted
