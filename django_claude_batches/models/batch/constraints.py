"""CHECK constraints that tie a batch's state to its other columns."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from django_claude_batches.models.batch_state import ALWAYS_DUE, FETCHING, REMOTE, State


def _state_in(states: frozenset[State]) -> Q:
    """Match these states, always in the same order, so that generated migrations do not differ."""
    return Q(state__in=sorted(str(state.value) for state in states))


STATE_CONSTRAINTS: list[models.BaseConstraint] = [
    models.CheckConstraint(condition=Q(state__in=State.values), name="dcb_batch_state"),
    models.CheckConstraint(
        condition=Q(_state_in(REMOTE), anthropic_id__isnull=False)
        | (~_state_in(REMOTE) & Q(anthropic_id__isnull=True)),
        name="dcb_batch_remote",
    ),
    models.CheckConstraint(
        condition=Q(next_action_at__isnull=False)
        | ~_state_in(ALWAYS_DUE | {State.INGESTED})
        | Q(state=State.INGESTED, announced_at__isnull=False),
        name="dcb_batch_due",
    ),
    models.CheckConstraint(
        condition=~_state_in(FETCHING | {State.INGESTED}) | Q(processing_status="ended"),
        name="dcb_batch_ended",
    ),
    models.CheckConstraint(
        condition=Q(state=State.INGESTED, ingested_at__isnull=False)
        | (~Q(state=State.INGESTED) & Q(ingested_at__isnull=True)),
        name="dcb_batch_ingested",
    ),
    models.CheckConstraint(condition=~Q(state=State.QUEUED) | Q(queued_at__isnull=False), name="dcb_batch_queued"),
    models.CheckConstraint(
        condition=Q(lease_token="", lease_until__isnull=True) | (~Q(lease_token="") & Q(lease_until__isnull=False)),
        name="dcb_batch_lease",
    ),
]
