"""What an attempt turned out to be, and what follows for its batch.

Each function closes the attempt first and then moves the batch, in one transaction, and only if no later attempt has
taken its place: a late answer never undoes what happened meanwhile.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, TypeVar

from django.db import InterfaceError, OperationalError, connections, transaction

from django_claude_batches import conf, wire
from django_claude_batches.client import Reply
from django_claude_batches.exceptions import (
    AccessRefused,
    APIError,
    APIUnreachable,
    ClaudeBatchesError,
    InvalidRequest,
    KeyRefused,
    RateLimited,
    SpendLimitReached,
)
from django_claude_batches.models import MessageBatch, Outcome, SubmitAttempt
from django_claude_batches.models.batch import UNWISHED
from django_claude_batches.models.state import REMOTE, SENT, State
from django_claude_batches.services.announcing import tell
from django_claude_batches.services.delays import FIRST_POLL, NOW, backoff, next_poll
from django_claude_batches.services.mirroring import mirrored
from django_claude_batches.services.pausing import pause
from django_claude_batches.signals import batch_failed, batch_submitted, duplicate_detected, submission_uncertain

logger = logging.getLogger(__name__)

T = TypeVar("T")

ABOUT_THE_ACCOUNT = (KeyRefused, AccessRefused, SpendLimitReached)
REFUSED = frozenset({400, 404, 413, 422})
BEFORE_WORK = frozenset({"request_body_timeout"})
OVERLOADED = 529
INSISTENCE = timedelta(minutes=1)
"""How long an answer is tried to be written down before an id is only logged."""

UNCERTAIN_RECHECK = timedelta(hours=1)


def before_sending(batch: MessageBatch, attempt: SubmitAttempt, error: ClaudeBatchesError) -> bool:
    """The call before the create call failed: nothing was sent, and nothing is lost."""
    if isinstance(error, ABOUT_THE_ACCOUNT):
        pause(batch.account, error)
    asked = error.retry_after if isinstance(error, APIError) else None
    return not_sent(batch, attempt, error=str(error), delay=backoff(batch.failures, asked=asked))


def refused_or_uncertain(batch: MessageBatch, attempt: SubmitAttempt, error: ClaudeBatchesError) -> bool:
    """Tell what an error on the create call means: refused, not begun, or, for all that is not named, uncertain."""
    return _insist(lambda: _judged(batch, attempt, error))


def _judged(batch: MessageBatch, attempt: SubmitAttempt, error: ClaudeBatchesError) -> bool:
    status = error.status if isinstance(error, APIError) else None
    answered = {"http_status": status, "api_request_id": getattr(error, "request_id", None) or ""}
    if isinstance(error, ABOUT_THE_ACCOUNT):
        not_sent(batch, attempt, error=str(error), delay=backoff(0), outcome=Outcome.REFUSED, **answered)
        pause(batch.account, error)
        return False
    if _never_began(error):
        asked = error.retry_after if isinstance(error, APIError) else None
        delay = backoff(batch.failures, asked=asked)
        return not_sent(batch, attempt, error=str(error), delay=delay, outcome=Outcome.REFUSED, **answered)
    if isinstance(error, InvalidRequest):  # the client's own word, before a byte was sent: a header that cannot be one
        return _rejected(batch, attempt, error, str(error), answered)
    if isinstance(error, APIError) and error.status in REFUSED:
        return _rejected(batch, attempt, error, error.message, answered)
    return uncertain(batch, attempt, str(error), **answered)


def _never_began(error: ClaudeBatchesError) -> bool:
    if isinstance(error, APIUnreachable):
        return not error.sent
    if not isinstance(error, APIError):
        return False
    return isinstance(error, RateLimited) or error.status == OVERLOADED or error.error_code in BEFORE_WORK


def not_sent(
    batch: MessageBatch,
    attempt: SubmitAttempt | None,
    *,
    error: str,
    delay: timedelta | None = None,
    outcome: Outcome = Outcome.NOT_SENT,
    **answered: Any,
) -> bool:
    """Queue the batch again; back to a draft if somebody asked to cancel or delete it meanwhile.

    One that was uncertain already, and is proved by a late refusal, is held instead where ON_NOT_CREATED says so.
    """
    delay = backoff(batch.failures) if delay is None else delay
    failures = batch.failures + 1
    late = batch.state == State.UNCERTAIN

    def back() -> bool:
        return _put_back(batch, SENT, "not_sent", error, is_held=late, due=delay, last_error=error, failures=failures)

    _settle(batch, attempt, outcome, back, **answered)
    return False


def not_received(batch: MessageBatch, attempt: SubmitAttempt) -> bool:
    """Nothing came of the attempt: queue the batch again with a new tag, or hold it; a draft if it is not wanted."""
    why = f"Attempt {attempt.number} was not received by Anthropic."

    def back() -> bool:
        return _put_back(batch, {State.UNCERTAIN}, "not_received", why, is_held=True, due=NOW, last_error="")

    return _settle(batch, attempt, Outcome.NOT_RECEIVED, back) and batch.state == State.QUEUED


def _put_back(
    batch: MessageBatch, allowed: Iterable[State], what: str, why: str, *, is_held: bool, **changes: Any
) -> bool:
    """Put back what is not at Anthropic; `is_held` where ON_NOT_CREATED has a say in it."""
    batch.refresh_from_db(using=MessageBatch.objects.primary().db)
    if batch.cancel_requested_at or batch.delete_requested_at:
        moved = batch.move(State.DRAFT, allowed=allowed, last_error="", **UNWISHED)
        return moved and _noted(batch, "taken_back", why)
    if is_held and conf.on_not_created() == "hold":
        moved = batch.move(State.HELD, allowed=allowed, last_error=changes["last_error"])
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


def accepted(batch: MessageBatch, attempt: SubmitAttempt, reply: Reply[wire.MessageBatch] | None = None) -> bool:
    """Give the batch its id. An id that came back is never thrown away: it goes to the attempt first, come what may."""
    mirror: dict[str, Any] = {"processing_status": "in_progress"}
    delay = NOW
    if reply is not None:
        attempt.remote_id = reply.data["id"]
        attempt.api_request_id = reply.request_id or ""
        _write_down(attempt)
        mirror = mirrored(reply.data)
        delay = next_poll(mirror["created_at"])
    remote_id = attempt.remote_id
    free = frozenset(State) - REMOTE
    batches = MessageBatch.objects.primary()
    with transaction.atomic(using=batches.db, durable=True):
        if not batches.filter(pk=batch.pk).exists():
            logger.critical("%s was made for batch %s, which was deleted here meanwhile.", remote_id, batch.pk)
            return False
        batch.refresh_from_db(using=batches.db)
        later = batch.attempts.using(batches.db).maybe_made().filter(number__gt=attempt.number)
        taken = _owner(batch, str(remote_id))
        moved = (
            taken is None
            and not later.exists()
            and batch.move(
                State.IN_PROGRESS,
                allowed=free,
                due=delay,
                anthropic_id=remote_id,
                workspace_id=attempt.workspace_id,
                last_error="",
                **mirror,
            )
        )
        if moved:
            batch.note("accepted", str(remote_id))
        elif taken is not None:
            why = (
                f"Anthropic accepted it as {remote_id}, which was adopted as {taken}: delete that one and adopt again."
            )
            batch.move(State.UNCERTAIN, allowed={State.SUBMITTING}, due=UNCERTAIN_RECHECK, last_error=why)
        duplicate = not moved and batch.anthropic_id != remote_id
        if duplicate:
            owner = f"it belongs to {taken}" if taken else f"the batch has {batch.anthropic_id or 'a later attempt'}"
            batch.note("duplicate", f"Attempt {attempt.number} made {remote_id}, but {owner}.")
    if moved:
        tell(batch_submitted, batch)
    if duplicate:
        logger.critical("Two batches for one row: batch %s, attempt %s made %s", batch.pk, attempt.number, remote_id)
        tell(duplicate_detected, batch)
    return False


def proven(attempt: SubmitAttempt, remote_id: str) -> bool:
    """Give a batch that bears an attempt's tag to the attempt, and to its row if that can still take it."""
    attempt.remote_id = remote_id
    batch = MessageBatch.objects.primary().filter(pk=attempt.batch_id).first()  # not from a replica
    attempts = SubmitAttempt.objects.primary()
    new = attempts.filter(pk=attempt.pk, remote_id__isnull=True).update(
        remote_id=remote_id, outcome=Outcome.ACCEPTED, candidates=[]
    )
    if batch is None:
        logger.critical(
            "%s at Anthropic bears the tag of attempt %s, whose batch was deleted here.", remote_id, attempt.pk
        )
        return False
    if new:
        batch.note("proven", f"{remote_id} bears the tag of attempt {attempt.number}.")
    return accepted(batch, attempt)


def _owner(batch: MessageBatch, remote_id: str) -> MessageBatch | None:
    """Give the other row that has this id by submission. One that only adopted it gives it up: the proof is ours.

    Its results go with it; they are fetched again for the row whose requests they answer.
    """
    batches = MessageBatch.objects.primary()
    other = batches.filter(anthropic_id=remote_id).exclude(pk=batch.pk).first()
    if other is None or other.attempts.using(batches.db).filter(remote_id=remote_id).exists():
        return other
    batch.note("took_over", f"{remote_id} was adopted as {other}; that row is deleted.")
    other.erase()
    return None


def _write_down(attempt: SubmitAttempt) -> None:
    """Write the attempt's remote id, whatever the lease says; where that cannot be done, the log has it."""
    attempts = SubmitAttempt.objects.primary()
    written = False
    try:
        _insist(
            lambda: attempts.filter(pk=attempt.pk).update(
                remote_id=attempt.remote_id,
                outcome=Outcome.ACCEPTED,
                http_status=200,
                api_request_id=attempt.api_request_id,
            )
        )
        written = True
    finally:
        if not written:  # the database's word, a time limit, Ctrl-C: it goes on, but not without the id
            logger.critical(
                "Anthropic accepted %s for batch %s, attempt %s, and it could not be written down. Adopt it: "
                "manage.py claude_batches adopt %s --for-batch %s",
                *(attempt.remote_id, attempt.batch_id, attempt.number, attempt.remote_id, attempt.batch_id),
            )


def _insist(write: Callable[[], T]) -> T:
    """Write what an answer said, on a new connection if need be, for a minute: a create call is not made again to ask.

    The connection was idle while the body was sent, so a server or a pooler may have closed it; and SQLite may be
    locked.
    """
    connection = connections[SubmitAttempt.objects.primary().db]
    give_up_at = time.monotonic() + INSISTENCE.total_seconds()
    while True:
        try:
            return write()
        except (InterfaceError, OperationalError):
            if time.monotonic() > give_up_at:
                raise
        connection.close()
        time.sleep(1)


def _settle(
    batch: MessageBatch, attempt: SubmitAttempt | None, outcome: Outcome, then: Callable[[], bool], **answered: Any
) -> bool:
    """Close the attempt if it was undecided, and move the batch if this is its last attempt."""
    attempts = SubmitAttempt.objects.primary()
    with transaction.atomic(using=attempts.db, durable=True):
        if attempt is None:
            return then()
        undecided = attempts.undecided().filter(pk=attempt.pk)
        if outcome == Outcome.NOT_SENT:
            undecided = undecided.filter(sent_at__isnull=True)
        closed = undecided.update(outcome=outcome, **answered)
        overtaken = attempts.filter(batch=batch, number__gt=attempt.number).exists()
        return bool(closed) and not overtaken and then()


def _noted(batch: MessageBatch, what: str, text: str = "") -> bool:
    batch.note(what, text)
    return True
