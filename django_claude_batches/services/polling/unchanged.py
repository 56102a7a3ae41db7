"""Batches that run on as before: nearly all, in nearly every round. Together they cost a few statements."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta

from django.db.models import Q

from django_claude_batches import wire
from django_claude_batches.db.leases import after
from django_claude_batches.models import MessageBatch
from django_claude_batches.models.batch_state import State
from django_claude_batches.services.backoff import CANCEL_POLL, next_poll
from django_claude_batches.services.mirror import mirrored

STEP = timedelta(seconds=5)
"""Delays are rounded to it, so that batches share a statement; they stay spread."""

STATUSES = {State.IN_PROGRESS: "in_progress", State.CANCELING: "canceling"}


def is_as_before(batch: MessageBatch, data: wire.MessageBatch) -> bool:
    """Whether nothing of it has changed, and nothing is to be written or asked but when to look again."""
    state = State(batch.state)
    if STATUSES.get(state) != data["processing_status"] or batch.last_error or batch.missed_at is not None:
        return False
    if state == State.IN_PROGRESS and batch.cancel_requested_at is not None:
        return False
    return all(getattr(batch, name) == value for name, value in mirrored(data).items())


def look_again_later(batches: list[MessageBatch]) -> None:
    """Set when each is looked at next, unless somebody wished for something meanwhile."""
    by_delay: dict[tuple[str, int], list[int]] = defaultdict(list)
    for batch in batches:
        delay = CANCEL_POLL if batch.state == State.CANCELING else next_poll(batch.created_at)
        by_delay[batch.state, max(round(delay / STEP), 1)].append(batch.pk)
    for (state, steps), pks in by_delay.items():
        rows = MessageBatch.objects.primary().filter(pk__in=pks, state=state)
        unwished = rows.filter(Q(state=State.CANCELING) | Q(cancel_requested_at__isnull=True))
        unwished.update(next_action_at=after(STEP * steps), tries=0, failures=0)
