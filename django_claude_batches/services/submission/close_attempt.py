"""Record the result of a create call that was not accepted, and change its batch's state.

Each function first closes the attempt (`SubmitAttempt.close`), then moves the batch, in one transaction, and only if no
later attempt exists: a late answer never undoes a later change. No lease token is needed: closing is one conditional
UPDATE, so of several processes one does it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.db import transaction

from django_claude_batches import conf
from django_claude_batches.exceptions import (
    About,
    APIConnectionError,
    APIResponseValidationError,
    APIStatusError,
    ClaudeBatchesError,
    InvalidRequest,
)
from django_claude_batches.models import MessageBatch, Outcome, SubmitAttempt
from django_claude_batches.models.batch.batch import NO_INTENT
from django_claude_batches.models.batch_state import UNANSWERED, State
from django_claude_batches.sanitize import get_logger
from django_claude_batches.services.account_pauses import pause
from django_claude_batches.services.announcements import send_signal
from django_claude_batches.services.backoff import MIN_POLL_DELAY, NO_DELAY, backoff, honor_retry_after
from django_claude_batches.services.submission.acceptance import retry_write
from django_claude_batches.services.submission.refusals import ACCOUNT_PAUSED, account_words, classify
from django_claude_batches.signals import batch_failed, submission_uncertain

logger = get_logger(__name__)


def record_listing_error(batch: MessageBatch, attempt: SubmitAttempt, error: ClaudeBatchesError) -> bool:
    """Queue the batch again after an error of the listing that precedes the create call. Nothing was sent."""
    delay = honor_retry_after(error, backoff(batch.failures))
    if isinstance(error, APIStatusError) and _is_about_account(error, batch, attempt):
        return record_not_sent(batch, attempt, error=str(error), delay=delay, pausing=error)
    return record_not_sent(batch, attempt, error=str(error), delay=delay)


def record_error(batch: MessageBatch, attempt: SubmitAttempt, error: ClaudeBatchesError) -> bool:
    """Record an error of the create call: the API refused it, did not begin it, or (all other errors) it is uncertain.

    Return whether there is more to do for the batch at once. Database errors are retried for a minute.
    """
    return retry_write(lambda: _record_error(batch, attempt, error))


def _record_error(batch: MessageBatch, attempt: SubmitAttempt, error: ClaudeBatchesError) -> bool:
    if isinstance(error, InvalidRequest):  # raised by the client before a byte was sent: a header that cannot be one
        return _record_rejection(batch, attempt, error, str(error), {"http_status": None})
    if isinstance(error, APIStatusError):
        return _record_status(batch, attempt, error)
    if isinstance(error, APIResponseValidationError):  # the call may have gone through the proxy that answered
        return record_uncertain(batch, attempt, str(error), **_answer_columns(error))
    if isinstance(error, APIConnectionError) and not error.sent:
        delay = honor_retry_after(error, backoff(batch.failures))
        return record_not_sent(batch, attempt, error=str(error), delay=delay, outcome=Outcome.REFUSED)
    return record_uncertain(batch, attempt, str(error))


def _record_status(batch: MessageBatch, attempt: SubmitAttempt, error: APIStatusError) -> bool:
    answered = _answer_columns(error)
    about, words = classify(error, batch, attempt)
    refused: dict[str, Any] = {"error": str(error), "outcome": Outcome.REFUSED, **answered}
    if about is About.ACCOUNT:
        return record_not_sent(batch, attempt, delay=backoff(0), pausing=error, words=words, **refused)
    if about is About.NOTHING_DONE:
        return record_not_sent(batch, attempt, delay=honor_retry_after(error, backoff(batch.failures)), **refused)
    if about is About.BATCH:
        return _record_rejection(batch, attempt, error, error.message, answered)
    return record_uncertain(batch, attempt, str(error), **answered)


def _answer_columns(error: APIStatusError | APIResponseValidationError) -> dict[str, Any]:
    return {"http_status": error.status_code, "api_request_id": error.request_id or ""}


def _is_about_account(error: APIStatusError, batch: MessageBatch, attempt: SubmitAttempt) -> bool:
    """Return whether a refused listing is about the account.

    It contains nothing of the batch, so it never rejects one.
    """
    if error.about is About.ITS_WORDS:
        return bool(account_words(error.message, batch, attempt))
    return error.about is About.ACCOUNT


def record_not_sent(
    batch: MessageBatch,
    attempt: SubmitAttempt | None,
    *,
    error: str,
    delay: timedelta | None = None,
    outcome: Outcome = Outcome.NOT_SENT,
    pausing: APIStatusError | None = None,
    words: str = "",
    is_counted: bool = True,
    **answered: Any,
) -> bool:
    """Queue the batch again, or make it a draft if canceling or deleting it was requested. Return False.

    A batch that was uncertain, and is proved by a late refusal, is held instead if ON_NOT_CREATED is "hold".
    `pausing` is the error that pauses the account, in the same transaction. `words` are those that alone decided that;
    they are kept in the timeline. `is_counted`: whether this counts as a failure of the batch, for its next back-off.
    """
    delay = backoff(batch.failures) if delay is None else delay
    changes = {"due": delay, "last_error": error, "failures": batch.failures + is_counted}
    is_late = batch.state == State.UNCERTAIN
    with transaction.atomic(using=SubmitAttempt.objects.primary().db, durable=True):
        if pausing is not None:  # first: code that queues an account's batches locks the account's row before theirs
            pause(batch.account, pausing, until_resumed=bool(words))
        if attempt is None or attempt.close(outcome, **answered):
            if words:
                batch.log_event(ACCOUNT_PAUSED, words)
            _queue_again(batch, UNANSWERED, "not_sent", error, may_hold=is_late, **changes)
    return False


def record_not_received(batch: MessageBatch, attempt: SubmitAttempt) -> bool:
    """Queue the batch again with a new tag, hold it, or make it a draft if it is not wanted.

    Return whether it is queued.
    """
    why = f"Attempt {attempt.number} was not received by Anthropic."
    with transaction.atomic(using=SubmitAttempt.objects.primary().db, durable=True):
        if not attempt.close(Outcome.NOT_RECEIVED):
            return False
        _queue_again(batch, {State.UNCERTAIN}, "not_received", why, may_hold=True, due=NO_DELAY, last_error="")
    return batch.state == State.QUEUED


def hold_undecided(batch: MessageBatch, attempt: SubmitAttempt, why: str) -> bool:
    """Hold the batch for a person: it may have been billed, and that can no longer be determined. Return False."""
    words = f"It may have been billed: {why}. Look for it in Anthropic's Console before you submit it again."
    with transaction.atomic(using=SubmitAttempt.objects.primary().db, durable=True):
        is_held = attempt.close(Outcome.UNDECIDED) and batch.move(
            State.HELD, allowed={State.UNCERTAIN}, last_error=words, may_have_been_billed=True
        )
        if is_held:
            _log_held(batch, words)
    if is_held:
        logger.error("Batch %s is held. %s", batch.pk, words)
        send_signal(submission_uncertain, batch)
    return False


def record_uncertain(batch: MessageBatch, attempt: SubmitAttempt, why: str, **answered: Any) -> bool:
    """Make the batch uncertain: it may be running and billed, so it is not sent again. Return False."""
    with transaction.atomic(using=SubmitAttempt.objects.primary().db, durable=True):
        is_uncertain = attempt.close(Outcome.UNCERTAIN, **answered) and batch.move(
            State.UNCERTAIN, allowed={State.SUBMITTING}, due=MIN_POLL_DELAY, last_error=why
        )
        if is_uncertain:
            batch.log_event("uncertain", why)
    if is_uncertain:
        logger.error("Batch %s may have been created at Anthropic, and is not sent again: %s", batch.pk, why)
        send_signal(submission_uncertain, batch)
    return False


def _record_rejection(
    batch: MessageBatch, attempt: SubmitAttempt, error: ClaudeBatchesError, words: str, answered: dict[str, Any]
) -> bool:
    with transaction.atomic(using=SubmitAttempt.objects.primary().db, durable=True):
        is_rejected = attempt.close(Outcome.REFUSED, **answered) and batch.move(
            State.REJECTED, allowed=UNANSWERED, last_error=words
        )
        if is_rejected:
            batch.log_event("rejected", str(error))
    if is_rejected:
        send_signal(batch_failed, batch)
    return False


def _queue_again(
    batch: MessageBatch, allowed: Iterable[State], what: str, why: str, *, may_hold: bool, **changes: Any
) -> None:
    """Queue a batch that is not at Anthropic, unless it is not wanted any more. `may_hold`: as ON_NOT_CREATED says."""
    batch.refresh_from_db(using=MessageBatch.objects.primary().db)
    if batch.cancel_requested_at or batch.delete_requested_at:
        if batch.move(State.DRAFT, allowed=allowed, last_error="", **NO_INTENT):
            batch.log_event("taken_back", why)
        return
    if may_hold and (conf.on_not_created() == "hold" or batch.is_being_identified):
        if batch.move(State.HELD, allowed=allowed, last_error=changes["last_error"]):
            _log_held(batch, why)
        return
    if batch.move(State.QUEUED, allowed=allowed, **changes):
        if batch.cancel_requested_at or batch.delete_requested_at:  # requested since the row was read
            batch.move(State.DRAFT, allowed={State.QUEUED}, last_error="", **NO_INTENT)
        batch.log_event(what, why)


def _log_held(batch: MessageBatch, why: str) -> None:
    if batch.is_being_identified:
        # `move` left it without a next action: make it due, so that a worker verifies the identified id.
        batch.record_intent({State.HELD})
    batch.log_event("held", why)
