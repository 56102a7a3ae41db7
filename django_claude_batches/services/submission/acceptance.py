"""Record the id of an accepted batch.

An id that Anthropic returned is never lost: it is stored on the attempt first.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from django.db import InterfaceError, OperationalError, connections, transaction
from django.db.models import F
from django.dispatch import Signal

from django_claude_batches import wire
from django_claude_batches.client import Reply
from django_claude_batches.models import MessageBatch, Outcome, SubmitAttempt
from django_claude_batches.models.batch_state import REMOTE, State
from django_claude_batches.sanitize import get_logger
from django_claude_batches.services.announcements import send_signal
from django_claude_batches.services.backoff import NO_DELAY, poll_delay
from django_claude_batches.services.mirror import mirror_columns
from django_claude_batches.signals import batch_submitted, duplicate_detected

logger = get_logger(__name__)

T = TypeVar("T")

# How long recording an answer is retried before an id is only logged.
MAX_WRITE_RETRY_TIME = timedelta(minutes=1)

UNCERTAIN_RECHECK = timedelta(hours=1)


def record_acceptance(
    batch: MessageBatch, attempt: SubmitAttempt, reply: Reply[wire.MessageBatch] | None = None
) -> bool:
    """Record the batch's id. It is stored on the attempt first, whatever the state of the row."""
    mirror: dict[str, Any] = {"processing_status": "in_progress"}
    delay = NO_DELAY
    if reply is not None:
        attempt.remote_id = reply.data["id"]
        _store_remote_id(attempt)
        mirror = mirror_columns(reply.data)
        delay = poll_delay(mirror["created_at"])
    attempts = SubmitAttempt.objects.primary()
    with transaction.atomic(using=attempts.db, durable=True):
        if reply is not None:
            attempts.filter(pk=attempt.pk).update(api_request_id=reply.request_id or "")
        taken = _assign_id(batch, attempt, mirror, delay)
    return _send_news(batch, attempt, taken)


def assign_proven(attempt: SubmitAttempt, remote_id: str) -> bool:
    """Assign a remote batch that contains an attempt's tag to the attempt, and to its row if the row's state allows it.

    Both or none: an attempt that has an id is not searched for any more.
    """
    attempt.remote_id = remote_id
    attempts = SubmitAttempt.objects.primary()
    with transaction.atomic(using=attempts.db, durable=True):
        batch = MessageBatch.objects.primary().filter(attempts=attempt).first()  # not from a replica
        new = attempts.filter(pk=attempt.pk, remote_id__isnull=True).update(
            remote_id=remote_id, outcome=Outcome.ACCEPTED, candidates=[]
        )
        if batch is not None and new:
            batch.log_event("proven", f"{remote_id} bears the tag of attempt {attempt.number}.")
        taken = None if batch is None else _assign_id(batch, attempt, {"processing_status": "in_progress"}, NO_DELAY)
    if batch is None:
        logger.critical(
            "%s at Anthropic bears the tag of attempt %s, whose batch was deleted here.", remote_id, attempt.pk
        )
        return False
    return _send_news(batch, attempt, taken)


def _assign_id(batch: MessageBatch, attempt: SubmitAttempt, mirror: dict[str, Any], delay: timedelta) -> Signal | None:
    """Assign the attempt's id to the row, if it can still take it. Return the signal to send when that is committed."""
    remote_id = attempt.remote_id
    batches = MessageBatch.objects.primary()
    if not batches.filter(pk=batch.pk).exists():
        logger.critical("%s was made for batch %s, which was deleted here since.", remote_id, batch.pk)
        return None
    batch.refresh_from_db(using=batches.db)
    later = batch.attempts.using(batches.db).may_have_created().filter(number__gt=attempt.number)
    taken = _owner(batch, str(remote_id))
    moved = (
        taken is None
        and not later.exists()
        and batch.move(
            State.IN_PROGRESS,
            allowed=frozenset(State) - REMOTE,
            due=delay,
            anthropic_id=remote_id,
            workspace_id=attempt.workspace_id,
            identified_id="",
            may_have_been_billed=False,
            last_error="",
            **mirror,
        )
    )
    if moved:
        batch.log_event("accepted", str(remote_id))
        return batch_submitted
    if taken is not None:
        why = (
            f"The answer to its create call names {remote_id}, which is batch {taken} here: that one submitted it. It "
            "may have been created under another id. Look for it in Anthropic's Console, then identify or abandon it."
        )
        batch.move(State.UNCERTAIN, allowed={State.SUBMITTING}, due=UNCERTAIN_RECHECK, last_error=why)
    if batch.anthropic_id == remote_id:
        return None
    owner = f"it belongs to {taken}" if taken else f"the batch has {batch.anthropic_id or 'a later attempt'}"
    batch.log_event("duplicate", f"Attempt {attempt.number} made {remote_id}, but {owner}.")
    return duplicate_detected


def _send_news(batch: MessageBatch, attempt: SubmitAttempt, news: Signal | None) -> bool:
    if news is duplicate_detected:
        logger.critical(
            "Two batches for one row: batch %s, attempt %s made %s", batch.pk, attempt.number, attempt.remote_id
        )
    if news is not None:
        send_signal(news, batch)
    return False


def _owner(batch: MessageBatch, remote_id: str) -> MessageBatch | None:
    """Return the other row that has this id and submitted it. Delete one that only adopted it: the proof is ours.

    Its results are deleted with it; they are fetched again for the row whose requests they answer.
    """
    batches = MessageBatch.objects.primary()
    other = batches.filter(anthropic_id=remote_id).exclude(pk=batch.pk).first()
    if other is None or other.attempts.using(batches.db).filter(remote_id=remote_id).exists():
        return other
    batch.log_event("took_over", f"{remote_id} was adopted as {other}; that row is deleted.")
    batches.filter(pk=other.pk).update(state=F("state"))  # locks the row: another process may be storing its results
    other.erase()
    return None


def _store_remote_id(attempt: SubmitAttempt) -> None:
    """Store the attempt's remote id whether or not the lease is held; if that fails, log it.

    The statement holds nothing else of the answer: a value that a column refuses would prevent the id from being
    stored.
    """
    attempts = SubmitAttempt.objects.primary()
    written = False
    try:
        retry_write(
            lambda: attempts.filter(pk=attempt.pk).update(
                remote_id=attempt.remote_id,
                outcome=Outcome.ACCEPTED,
                http_status=200,
            )
        )
        written = True
    finally:
        if not written:  # a database error, a time limit, Ctrl-C: raised after the id is logged
            logger.critical(
                "Anthropic accepted %s for batch %s, attempt %s, and it could not be written down. Adopt it: "
                "manage.py claude_batches adopt %s --for-batch %s",
                *(attempt.remote_id, attempt.batch_id, attempt.number, attempt.remote_id, attempt.batch_id),
            )


def retry_write(write: Callable[[], T]) -> T:
    """Store an answer, on a new connection if necessary, for a minute: the create call cannot be repeated.

    The connection was idle while the body was sent, so a server or a pooler may have closed it; and SQLite may be
    locked.
    """
    connection = connections[SubmitAttempt.objects.primary().db]
    give_up_at = time.monotonic() + MAX_WRITE_RETRY_TIME.total_seconds()
    while True:
        try:
            return write()
        except (InterfaceError, OperationalError):
            if time.monotonic() > give_up_at:
                raise
        connection.close()
        time.sleep(1)
