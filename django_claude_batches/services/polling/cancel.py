"""Cancel a batch: record the intent here, and ask Anthropic from a worker."""

from __future__ import annotations

from typing import Any

from django_claude_batches.client import BatchesClient
from django_claude_batches.db.leases import DatabaseNow
from django_claude_batches.exceptions import (
    APIStatusError,
    AuthenticationError,
    ClaudeBatchesError,
    InternalServerError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
    SpendLimitReached,
    result_or_error,
)
from django_claude_batches.models import MessageBatch
from django_claude_batches.models.batch_state import FETCHING, RUNNING, UNANSWERED, State
from django_claude_batches.services.backoff import backoff, honor_retry_after
from django_claude_batches.services.polling.poll import poll, update_from_remote

CANCELABLE = RUNNING | UNANSWERED | {State.QUEUED}
NOTHING_TO_CANCEL = FETCHING | {State.INGESTED, State.LOST}
NOT_ABOUT_THE_BATCH = (
    RateLimitError,
    InternalServerError,
    AuthenticationError,
    PaymentRequiredError,
    PermissionDeniedError,
    SpendLimitReached,
)


def cancel(batch: MessageBatch, *, by: Any = None) -> MessageBatch:
    """Cancel a queued batch, or request cancellation of a sent one at Anthropic. No HTTP: a worker sends the request.

    Requests that are already running finish and are billed; their results are kept. While it is unknown whether the
    batch was received, the intent is kept: the batch is canceled when it is found, and not queued again if it was not
    received. Repeating it does nothing. Raise InvalidTransition if there is nothing to cancel.
    """
    if batch.move(State.DRAFT, allowed={State.QUEUED}, queued_at=None, last_error=""):
        batch.log_event("taken_back", by=by)
        return batch
    if batch.cancel_requested_at is not None or batch.state == State.CANCELING:
        return batch
    if batch.record_intent({State.IN_PROGRESS, *UNANSWERED}, cancel_requested_at=DatabaseNow()):
        batch.log_event("cancel_requested", by=by)
        return batch
    if batch.state in NOTHING_TO_CANCEL:
        raise batch.forbidden("cancel", CANCELABLE, "nothing is left to cancel; its results are kept.")
    raise batch.forbidden("cancel", CANCELABLE)


def is_wanted(batch: MessageBatch) -> bool:
    """Return whether the request still has to be sent to Anthropic."""
    unasked = batch.state == State.IN_PROGRESS and batch.cancel_initiated_at is None
    return unasked and batch.cancel_requested_at is not None


def perform(batch: MessageBatch, token: str, client: BatchesClient) -> bool:
    """Send the cancel request to Anthropic; return whether the batch has ended by it. A repeat is harmless."""
    answer = result_or_error(lambda: client.cancel(str(batch.anthropic_id)))
    if not isinstance(answer, ClaudeBatchesError):
        return update_from_remote(batch, answer)
    if isinstance(answer, APIStatusError) and not isinstance(answer, NOT_ABOUT_THE_BATCH):
        # It may have ended or be gone. The API's answer then is not known (docs/reference/wire.md §5.3), so poll.
        failures = batch.failures
        if poll(batch, token, client):
            return True
        if is_wanted(batch):
            delay = honor_retry_after(answer, backoff(failures))
            batch.reschedule(delay, token=token, last_error=str(answer), failures=failures + 1)
        return False
    batch.reschedule(honor_retry_after(answer, backoff(batch.failures)), token=token, error=str(answer))
    return False
