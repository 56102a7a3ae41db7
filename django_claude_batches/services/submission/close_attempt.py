"""What became of an attempt that was not accepted, and what follows for its batch.

Each function closes the attempt first and then moves the batch, in one transaction, and only if no later attempt has
taken its place: a late answer never undoes what happened meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from django.db import transaction

from django_claude_batches import conf
from django_claude_batches.exceptions import About, APIError, APIUnreachable, ClaudeBatchesError, InvalidRequest
from django_claude_batches.models import MessageBatch, Outcome, SubmitAttempt
from django_claude_batches.models.batch.batch import UNWISHED
from django_claude_batches.models.batch_state import SENT, State
from django_claude_batches.printable import get_logger
from django_claude_batches.services.account_pauses import pause
from django_claude_batches.services.announcements import tell
from django_claude_batches.services.backoff import FIRST_POLL, NOW, backoff, respecting
from django_claude_batches.services.listings.search import LISTINGS
from django_claude_batches.services.submission.acceptance import insist
from django_claude_batches.services.submission.refusals import ACCOUNT_PAUSED, judged, words_of_the_account
from django_claude_batches.signals import batch_failed, submission_uncertain

logger = get_logger(__name__)


def before_sending(batch: MessageBatch, attempt: SubmitAttempt, error: ClaudeBatchesError) -> bool:
    """The call before the create call failed: nothing was sent, and nothing is lost."""
    delay = respecting(error, backoff(batch.failures))
    if isinstance(error, APIError) and _is_of_the_account(error, batch, attempt):
        return not_sent(batch, attempt, error=str(error), delay=delay, pausing=error)
    return not_sent(batch, attempt, error=str(error), delay=delay)


def refused_or_uncertain(batch: MessageBatch, attempt: SubmitAttempt, error: ClaudeBatchesError) -> bool:
    """Tell what an error on the create call means: refused, not begun, or, for all that is not named, uncertain."""
    return insist(lambda: _judged(batch, attempt, error))


def _judged(batch: MessageBatch, attempt: SubmitAttempt, error: ClaudeBatchesError) -> bool:
    if isinstance(error, InvalidRequest):  # the client's own word, before a byte was sent: a header that cannot be one
        return _rejected(batch, attempt, error, str(error), {"http_status": None})
    if isinstance(error, APIError):
        return _answered(batch, attempt, error)
    if isinstance(error, APIUnreachable) and not error.sent:
        delay = respecting(error, backoff(batch.failures))
        return not_sent(batch, attempt, error=str(error), delay=delay, outcome=Outcome.REFUSED)
    return uncertain(batch, attempt, str(error))


def _answered(batch: MessageBatch, attempt: SubmitAttempt, error: APIError) -> bool:
    answered = {"http_status": error.status, "api_request_id": error.request_id or ""}
    about, words = judged(error, batch, attempt)
    refused: dict[str, Any] = {"error": str(error), "outcome": Outcome.REFUSED, **answered}
    if about is About.ACCOUNT:
        return not_sent(batch, attempt, delay=backoff(0), pausing=error, words=words, **refused)
    if about is About.NOTHING_DONE:
        return not_sent(batch, attempt, delay=respecting(error, backoff(batch.failures)), **refused)
    if about is About.BATCH:
        return _rejected(batch, attempt, error, error.message, answered)
    return uncertain(batch, attempt, str(error), **answered)


def _is_of_the_account(error: APIError, batch: MessageBatch, attempt: SubmitAttempt) -> bool:
    """Whether a refused listing is the account's; nothing of the batch is in it, so its words never reject one."""
    if error.about is About.ITS_WORDS:
        return bool(words_of_the_account(error.message, batch, attempt))
    return error.about is About.ACCOUNT


def not_sent(
    batch: MessageBatch,
    attempt: SubmitAttempt | None,
    *,
    error: str,
    delay: timedelta | None = None,
    outcome: Outcome = Outcome.NOT_SENT,
    pausing: APIError | None = None,
    words: str = "",
    **answered: Any,
) -> bool:
    """Queue the batch again; back to a draft if somebody asked to cancel or delete it meanwhile.

    One that was uncertain already, and is proved by a late refusal, is held instead where ON_NOT_CREATED says so.
    `pausing` is the error that pauses the account, in the same transaction; `words` are kept in the timeline where they
    alone decided that.
    """
    delay = backoff(batch.failures) if delay is None else delay
    failures = batch.failures + 1
    late = batch.state == State.UNCERTAIN

    def back() -> bool:
        if words:
            batch.note(ACCOUNT_PAUSED, words)
        return _put_back(batch, SENT, "not_sent", error, is_held=late, due=delay, last_error=error, failures=failures)

    _settle(batch, attempt, outcome, back, pausing=pausing, until_resumed=bool(words), **answered)
    return False


def not_received(batch: MessageBatch, attempt: SubmitAttempt) -> bool:
    """Nothing came of the attempt: queue the batch again with a new tag, or hold it; a draft if it is not wanted."""
    why = f"Attempt {attempt.number} was not received by Anthropic."

    def back() -> bool:
        return _put_back(batch, {State.UNCERTAIN}, "not_received", why, is_held=True, due=NOW, last_error="")

    return _settle(batch, attempt, Outcome.NOT_RECEIVED, back) and batch.state == State.QUEUED


def never_known(batch: MessageBatch, attempt: SubmitAttempt, why: str) -> bool:
    """Hold the batch for a person: it may have been billed, and it cannot be known any more."""
    words = f"It may have been billed: {why}. Look for it in Anthropic's Console before you submit it again."

    def hold() -> bool:
        if not batch.move(State.HELD, allowed={State.UNCERTAIN}, last_error=words, may_have_been_billed=True):
            return False
        if batch.is_claimed:
            batch.wish({State.HELD})  # the claim is still to be verified
        return _noted(batch, "held", words)

    if _settle(batch, attempt, Outcome.UNDECIDED, hold):
        logger.error("Batch %s is held. %s", batch.pk, words)
        tell(submission_uncertain, batch)
    return False


def _put_back(
    batch: MessageBatch, allowed: Iterable[State], what: str, why: str, *, is_held: bool, **changes: Any
) -> bool:
    """Put back what is not at Anthropic; `is_held` where ON_NOT_CREATED has a say in it."""
    batch.refresh_from_db(using=MessageBatch.objects.primary().db)
    if batch.cancel_requested_at or batch.delete_requested_at:
        moved = batch.move(State.DRAFT, allowed=allowed, last_error="", **UNWISHED)
        return moved and _noted(batch, "taken_back", why)
    if is_held and (conf.on_not_created() == "hold" or batch.is_claimed):
        moved = batch.move(State.HELD, allowed=allowed, last_error=changes["last_error"])
        if batch.is_claimed:
            batch.wish({State.HELD})  # the claim is still to be verified
        return moved and _noted(batch, "held", why)
    if not batch.move(State.QUEUED, allowed=allowed, **changes):
        return False
    if batch.cancel_requested_at or batch.delete_requested_at:  # wished since we looked
        batch.move(State.DRAFT, allowed={State.QUEUED}, last_error="", **UNWISHED)
    return _noted(batch, what, why)


def uncertain(batch: MessageBatch, attempt: SubmitAttempt, why: str, **answered: Any) -> bool:
    """Hold the batch: it may be running and billed, so it is not sent again."""

    def hold() -> bool:
        return batch.move(State.UNCERTAIN, allowed={State.SUBMITTING}, due=FIRST_POLL, last_error=why) and _noted(
            batch, "uncertain", why
        )

    if _settle(batch, attempt, Outcome.UNCERTAIN, hold, **answered):
        logger.error("Batch %s may have been created at Anthropic, and is not sent again: %s", batch.pk, why)
        tell(submission_uncertain, batch)
    return False


def _rejected(
    batch: MessageBatch, attempt: SubmitAttempt, error: ClaudeBatchesError, words: str, answered: dict[str, Any]
) -> bool:
    def reject() -> bool:
        return batch.move(State.REJECTED, allowed=SENT, last_error=words) and _noted(batch, "rejected", str(error))

    if _settle(batch, attempt, Outcome.REFUSED, reject, **answered):
        tell(batch_failed, batch)
    return False


def _settle(
    batch: MessageBatch,
    attempt: SubmitAttempt | None,
    outcome: Outcome,
    then: Callable[[], bool],
    *,
    pausing: APIError | None = None,
    until_resumed: bool = False,
    **answered: Any,
) -> bool:
    """Close the attempt if it was unresolved, and move the batch if this is its last attempt."""
    attempts = SubmitAttempt.objects.primary()
    with transaction.atomic(using=attempts.db, durable=True):
        if pausing is not None:  # first: whoever queues an account's batches locks its row before theirs
            pause(batch.account, pausing, until_resumed=until_resumed)
        if attempt is None:
            return then()
        unresolved = attempts.unresolved().filter(pk=attempt.pk)
        if outcome == Outcome.NOT_SENT:
            unresolved = unresolved.filter(sent_at__isnull=True)
        if outcome == Outcome.NOT_RECEIVED:  # another process may have seen a candidate since we looked
            unresolved = unresolved.filter(listings_made__gte=LISTINGS)
        closed = unresolved.update(outcome=outcome, **answered)
        overtaken = attempts.filter(batch=batch, number__gt=attempt.number).exists()
        return bool(closed) and not overtaken and then()


def _noted(batch: MessageBatch, what: str, text: str = "") -> bool:
    batch.note(what, text)
    return True
