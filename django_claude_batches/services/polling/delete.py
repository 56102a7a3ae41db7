"""Delete a batch at Anthropic: record the intent here, and ask Anthropic from a worker. The rows here stay."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import Q

from django_claude_batches.client import BatchesClient
from django_claude_batches.db.leases import DatabaseNow
from django_claude_batches.exceptions import (
    APIStatusError,
    ClaudeBatchesError,
    InternalServerError,
    NotFoundError,
    result_or_error,
)
from django_claude_batches.models import MessageBatch, RemoteBatch, SubmitAttempt, UsageRollup
from django_claude_batches.models.batch.batch import NO_INTENT
from django_claude_batches.models.batch_state import FETCHING, RUNNING, UNANSWERED, State
from django_claude_batches.services.backoff import MAX_BACKOFF, NO_DELAY, backoff, honor_retry_after
from django_claude_batches.services.listings.candidates import gone_ids
from django_claude_batches.services.listings.search import anchor_of
from django_claude_batches.services.listings.windows import Window, unowned
from django_claude_batches.services.polling.loss import without_results

DELETABLE_REMOTELY = UNANSWERED | RUNNING | FETCHING | {State.INGESTED, State.LOST}
UNFINISHED = UNANSWERED | RUNNING
MAX_TRIES = 5
HTTP_REQUEST_TIMEOUT = 408


def delete_remote(batch: MessageBatch, *, discard_results: bool = False, by: Any = None) -> MessageBatch:
    """Request deletion of the batch at Anthropic; its rows stay. No HTTP: a worker sends the request. Irreversible.

    A running batch is canceled and its results are fetched first; with `discard_results`, a finished one is deleted
    without fetching them. Repeating it does nothing. Raise InvalidTransition for a batch that was never sent.
    """
    if batch.remote_deleted_at is not None:
        return batch
    if batch.delete_requested_at is not None and batch.discard_results >= discard_results:
        return batch
    wish: dict[str, Any] = {"delete_requested_at": DatabaseNow(), "discard_results": discard_results}
    if batch.record_intent(UNFINISHED, cancel_requested_at=DatabaseNow(), **wish) or batch.record_intent(
        DELETABLE_REMOTELY - UNFINISHED, tries=0, **wish
    ):
        batch.log_event("delete_requested", "without fetching the results" if discard_results else "", by=by)
        return batch
    raise batch.forbidden("delete at Anthropic", DELETABLE_REMOTELY)


def is_wanted(batch: MessageBatch) -> bool:
    """Return whether the request has to be sent now: the results are stored and announced, or are not wanted."""
    if batch.delete_requested_at is None or batch.remote_deleted_at is not None:
        return False
    if batch.state in FETCHING:
        return batch.discard_results
    return batch.state == State.LOST or (batch.state == State.INGESTED and batch.announced_at is not None)


def perform(batch: MessageBatch, token: str, client: BatchesClient) -> bool:
    """Delete the batch at Anthropic.

    A 404 is success only after an earlier DELETE: a key of another Workspace gets one too.
    """
    if is_searched_for(batch):
        batch.reschedule(
            MAX_BACKOFF, token=token, last_error="Kept for now: the search for a lost batch needs this one."
        )
        return False
    maybe_deleted = _maybe_deleted(batch)
    batch.log_event("delete_sent")
    answer = result_or_error(lambda: client.delete(str(batch.anthropic_id)))
    if not isinstance(answer, ClaudeBatchesError) or (maybe_deleted and isinstance(answer, NotFoundError)):
        return _deleted(batch, token)
    if _is_refusal(answer):
        batch.log_event("delete_refused", str(answer))
    return _failed(batch, token, answer)


def is_searched_for(batch: MessageBatch) -> bool:
    """Return whether the search for a lost create call may need it: as its anchor, or as a candidate adopted since.

    False if that batch was abandoned and is no longer watched.
    """
    over = Q(watch_until__lt=DatabaseNow()) & (Q(batch__isnull=True) | Q(batch__state=State.ABANDONED))
    unresolved = SubmitAttempt.objects.primary().unresolved().exclude(over)
    if unresolved.filter(baseline_id=batch.anthropic_id).exists():
        return True
    remote_id = str(batch.anthropic_id)
    of_account = unresolved.filter(sent_at__isnull=False, batch__account=batch.account).exclude(batch=batch)
    gone = gone_ids(batch.account)
    if any(anchor is not None and anchor[0] == remote_id for anchor in (anchor_of(each, gone) for each in of_account)):
        return True
    windows = [Window.of(attempt) for attempt in of_account]
    maybe = any(window.may_have_made(remote_id, batch.created_at) for window in windows)
    foreign = RemoteBatch.objects.of(batch.account).filter(remote_id=remote_id, is_foreign=True)
    return maybe and bool(unowned([remote_id])) and not foreign.exists()


def _maybe_deleted(batch: MessageBatch) -> bool:
    """Return whether an earlier DELETE got no answer that refuses it: only then does a 404 mean success."""
    events = batch.events.using(MessageBatch.objects.primary().db)
    return events.filter(what="delete_sent").count() > events.filter(what="delete_refused").count()


def _is_refusal(failure: ClaudeBatchesError) -> bool:
    """Return whether the error proves that nothing was deleted: no 5xx, 408, proxy's page or lost connection."""
    return (
        isinstance(failure, APIStatusError)
        and not isinstance(failure, InternalServerError)
        and failure.status_code != HTTP_REQUEST_TIMEOUT
    )


def _deleted(batch: MessageBatch, token: str) -> bool:
    changes: dict[str, Any] = {"remote_deleted_at": DatabaseNow(), "last_error": batch.missing_reason}
    state, summary = State(batch.state), None
    if state in FETCHING:
        state, without, summary = without_results(batch)
        changes |= without
    with transaction.atomic(using=MessageBatch.objects.primary().db):
        if batch.move(state, allowed={State(batch.state)}, token=token, **changes):
            if summary is not None:
                UsageRollup.objects.primary().replace(batch, summary)
            batch.log_event("deleted_at_anthropic")
    return False


def _failed(batch: MessageBatch, token: str, failure: ClaudeBatchesError) -> bool:
    if batch.tries + 1 < MAX_TRIES:
        batch.reschedule(
            honor_retry_after(failure, backoff(batch.tries)), token=token, error=str(failure), tries=batch.tries + 1
        )
        return False
    unwished = {**NO_INTENT, "cancel_requested_at": batch.cancel_requested_at}
    unwished["due"] = NO_DELAY if batch.state in FETCHING else None  # its results are fetched now
    if batch.move(State(batch.state), allowed={State(batch.state)}, token=token, last_error=str(failure), **unwished):
        batch.log_event("delete_failed", str(failure))
    return False
