"""Batches of which nobody knows whether Anthropic has them."""

from __future__ import annotations

from typing import Any

from django_claude_batches.models import MessageBatch
from django_claude_batches.models.state import State
from django_claude_batches.services import settling


def hold(batch: MessageBatch, token: str) -> bool:
    """Look whether the answer was written down after all; wait otherwise. It is never sent again by guesswork."""
    for attempt in batch.attempts.using(MessageBatch.objects.primary().db).filter(remote_id__isnull=False):
        if not MessageBatch.objects.primary().filter(anthropic_id=attempt.remote_id).exists():
            settling.accepted(batch, attempt)
    batch.put_off(settling.UNCERTAIN_RECHECK, token=token)
    return False


def give_up(batch: MessageBatch, *, by: Any = None) -> MessageBatch:
    """Wait no more for an unconfirmed batch. It may have been billed; a later `adopt` with proof still revives it.

    Repeating it does nothing; raise InvalidTransition for any other batch.
    """
    if batch.move(State.ABANDONED, allowed={State.UNCERTAIN}):
        batch.note("given_up", by=by)
    elif batch.state != State.ABANDONED:
        raise batch.forbidden("give up", {State.UNCERTAIN})
    return batch
