"""Poll one batch, and update its row from the API's answer."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from django_claude_batches import wire
from django_claude_batches.client import BatchesClient
from django_claude_batches.exceptions import ClaudeBatchesError, NotFoundError, result_or_error
from django_claude_batches.models import MessageBatch
from django_claude_batches.models.batch.columns import COUNTS
from django_claude_batches.models.batch_state import RUNNING, State
from django_claude_batches.sanitize import get_logger
from django_claude_batches.services.announcements import send_signal
from django_claude_batches.services.backoff import CANCEL_POLL_DELAY, NO_DELAY, honor_retry_after, poll_delay
from django_claude_batches.services.mirror import mirror_columns
from django_claude_batches.services.polling.loss import record_miss
from django_claude_batches.signals import batch_ended

logger = get_logger(__name__)

# Column values of a batch that was just seen at Anthropic.
SEEN_COLUMNS: dict[str, Any] = {"last_error": "", "misses": 0, "missed_at": None}


def update_from_remote(batch: MessageBatch, data: wire.MessageBatch) -> bool:
    """Update the row from the API's object; return whether the batch has ended by it.

    A listing may be older than the row: a batch only goes forward, from in_progress to canceling to ended. An unknown
    status is stored, and changes no state.
    """
    mirror = mirror_columns(data)
    with transaction.atomic(using=MessageBatch.objects.primary().db):
        if mirror["processing_status"] == "ended":
            ended = batch.move(State.ENDED, allowed=RUNNING, due=NO_DELAY, **SEEN_COLUMNS, **mirror)
            if ended:
                batch.log_event("ended", _outcomes(batch))
        else:
            ended = False
            _still_running(batch, mirror)
    if ended:
        send_signal(batch_ended, batch)
    return ended


def _still_running(batch: MessageBatch, mirror: dict[str, Any]) -> None:
    canceling = mirror["processing_status"] == "canceling"
    delay = CANCEL_POLL_DELAY if batch.cancel_requested_at or canceling else poll_delay(mirror["created_at"])
    clean = {**SEEN_COLUMNS, **mirror}
    if canceling and batch.move(State.CANCELING, allowed={State.IN_PROGRESS}, due=delay, **clean):
        batch.log_event("canceling")
        return
    state = State(batch.state)
    stale = state == State.CANCELING and mirror["processing_status"] == "in_progress"
    wished = batch.cancel_requested_at
    batch.move(state, allowed=RUNNING & {state}, due=delay, **({} if stale else clean))
    if batch.cancel_requested_at != wished:  # requested during this poll: due now, not at the next poll
        batch.record_intent({State.IN_PROGRESS})


def poll(batch: MessageBatch, token: str, client: BatchesClient) -> bool:
    """Retrieve one batch. An error only delays the next poll: 404 and 500 may be transient."""
    answer = result_or_error(lambda: client.retrieve(str(batch.anthropic_id)))
    if not isinstance(answer, ClaudeBatchesError):
        return update_from_remote(batch, answer)
    if not isinstance(answer, NotFoundError) or not record_miss(batch, client, str(answer)):
        batch.reschedule(honor_retry_after(answer, poll_delay(batch.created_at)), token=token, error=str(answer))
    return False


def _outcomes(batch: MessageBatch) -> str:
    counts = {name: getattr(batch, f"{name}_count") for name in COUNTS}
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
