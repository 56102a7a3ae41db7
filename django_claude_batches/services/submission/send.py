"""Sending a batch at most once.

The API has no idempotency key, and a create whose answer is lost may be running and billed. So every create call is
written down before it is made, is fenced by a lease on the database's clock, and is never made again unless it is
certain that nothing was created (docs/topics/at-most-once.md).
"""

from __future__ import annotations

import base64
import secrets
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from typing import IO, Any, BinaryIO, cast

from django.db import transaction
from django.db.models import F

from django_claude_batches import conf, wire
from django_claude_batches.client import BatchesClient, Reply
from django_claude_batches.db.leases import LEASE, DatabaseNow, now_plus
from django_claude_batches.drafting.request import TAG_LENGTH
from django_claude_batches.exceptions import ClaudeBatchesError, result_or_error
from django_claude_batches.models import AccountState, JobRun, MessageBatch, RunState, SubmitAttempt
from django_claude_batches.models.batch_state import State
from django_claude_batches.sanitize import get_logger
from django_claude_batches.services.account_pauses import is_paused
from django_claude_batches.services.backoff import NO_DELAY, jittered
from django_claude_batches.services.connection import connect, fingerprint
from django_claude_batches.services.heartbeat import heartbeat
from django_claude_batches.services.listings.page import list_page
from django_claude_batches.services.slow_accounts import (
    CREATE_WAIT_INTERVAL,
    WAITING_FOR_OTHER_CREATE,
    one_create_at_a_time,
)
from django_claude_batches.services.submission import acceptance, close_attempt
from django_claude_batches.services.submission.baseline import Baseline, store_baseline, take_baseline, window_until
from django_claude_batches.services.submission.body_file import BodyDigest, DeadlineReader, write_body_file

logger = get_logger(__name__)

CONNECT_TIMEOUT = 60.0
"""Seconds, also for each piece of the body that is sent (`BatchesClient.send`)."""

WATCH_PERIOD = timedelta(hours=25)
"""How long a batch that nobody claimed may still turn up: 24 hours of processing, and one for clocks."""

PAUSED_RECHECK = timedelta(minutes=5)


def send(batch: MessageBatch, token: str) -> bool:
    """Make one create call for a queued batch, under the lease; give whether there is more to do at once.

    What the API says is recorded on the row. Only what this machine does wrong is raised: no key, a full disk.
    """
    return _send(batch, token, lambda: None)


def send_in_turn(batch: MessageBatch, token: str) -> bool:
    """Make the create call, unless it has to wait for another one of the account."""
    with one_create_at_a_time(batch) as keep:
        if keep is not None:
            return _send(batch, token, keep)
    # What went wrong before is worth more to a person than what it waits for.
    batch.reschedule(
        jittered(CREATE_WAIT_INTERVAL), token=token, last_error=batch.last_error or WAITING_FOR_OTHER_CREATE
    )
    return False


def _send(batch: MessageBatch, token: str, keep: Callable[[], object]) -> bool:
    if is_paused(batch.account):
        batch.reschedule(PAUSED_RECHECK, token=token, **_clear_waiting_error(batch))
        return False
    client = connect(batch.account, anthropic_version=batch.anthropic_version)
    attempt = _open_attempt(batch, token)
    if attempt is None:
        return batch.state == State.UNCERTAIN
    renew = heartbeat({batch.pk: token})

    def progress() -> None:
        renew()
        keep()

    file, written = _write_body(batch, attempt, progress)
    with file:
        baseline = _record_baseline(batch, attempt, client, written, progress)
        if baseline is None:
            return False
        reader = DeadlineReader(file, attempt.send_deadline)  # its clock runs before `sent_at` is set
        if not _mark_sent(batch, attempt, token, baseline):
            return close_attempt.record_not_sent(
                batch, attempt, error="Taken back, or overtaken, before it was sent.", delay=NO_DELAY
            )
        return _post(batch, attempt, client, reader, written, keep)


def _clear_waiting_error(batch: MessageBatch) -> dict[str, Any]:
    return {"last_error": ""} if batch.last_error == WAITING_FOR_OTHER_CREATE else {}


def recover(batch: MessageBatch, _token: str) -> bool:
    """Recover an attempt whose worker died. The caller holds the lease, so that worker is gone."""
    attempt = batch.last_attempt
    if attempt is not None and attempt.remote_id:
        return acceptance.record_acceptance(batch, attempt)
    if attempt is None or attempt.sent_at is None:
        return close_attempt.record_not_sent(
            batch, attempt, error="The worker stopped before it was sent.", delay=NO_DELAY
        )
    return close_attempt.record_uncertain(batch, attempt, "The worker stopped while it was being sent.")


def _open_attempt(batch: MessageBatch, token: str) -> SubmitAttempt | None:
    """Write down that we are about to send; None if the batch or the lease is no longer ours."""
    rows = MessageBatch.objects.primary()
    # Before the transaction: a key may come from a vault that takes its time.
    fingerprint_, workspace_id = fingerprint(batch.account), conf.account(batch.account).workspace_id or ""
    with transaction.atomic(using=rows.db, durable=True):
        if not rows.renew(batch.pk, token) or _was_sent_before(batch, token):
            return None
        if _is_run_stopped(batch, token):
            return None
        kept: dict[str, Any] = {"failures": F("failures")}  # a refusal of this call lengthens the next back-off
        if not batch.move(State.SUBMITTING, allowed={State.QUEUED}, token=token, due=NO_DELAY, **kept):
            return None
        batch.log_event("sending")
        last = batch.last_attempt
        return SubmitAttempt.objects.using(rows.db).create(
            batch=batch,
            number=last.number + 1 if last else 1,
            tag=new_tag(),
            account_fingerprint=fingerprint_,
            workspace_id=workspace_id,
            recorded_at=DatabaseNow(),
            send_deadline=conf.send_deadline(),
            read_timeout=conf.create_read_timeout(),
        )


def _was_sent_before(batch: MessageBatch, token: str) -> bool:
    """Look whether an attempt made a batch, or may have: then the row was set back from outside, and is not sent.

    No verb leads here. A backup that was played back does, and so does an UPDATE by hand.
    """
    made = batch.attempts.using(MessageBatch.objects.primary().db).may_have_created().last()
    if made is None:
        return False
    why = f"Attempt {made.number} may have created it already, so it is not sent again."
    if batch.move(State.UNCERTAIN, allowed={State.QUEUED}, token=token, due=NO_DELAY, last_error=why):
        batch.log_event("uncertain", why)
    return True


def _is_run_stopped(batch: MessageBatch, token: str) -> bool:
    """Make a batch a draft again if its run is paused or being canceled. A paused run submits it when it is resumed.

    The row lock serializes this with pausing or canceling the run.
    """
    run = None if batch.run_id is None else JobRun.objects.primary().active().filter(pk=batch.run_id).first()
    if run is None or not (run.is_paused or run.state == RunState.CANCELING):
        return False
    why = "Its run is being canceled." if run.state == RunState.CANCELING else "Its run is paused."
    if batch.move(
        State.DRAFT, allowed={State.QUEUED}, token=token, queued_at=None, last_error="", submitted_by_run_at=None
    ):
        batch.log_event("taken_back", why)
    return True


def _write_body(
    batch: MessageBatch, attempt: SubmitAttempt, progress: Callable[[], object]
) -> tuple[IO[bytes], BodyDigest]:
    """Write the body to a temporary file; where that fails (a full disk), the batch is queued again."""
    try:
        with ExitStack() as on_failure:
            file = on_failure.enter_context(tempfile.TemporaryFile())
            written = write_body_file(
                file, batch, attempt.tag, using=MessageBatch.objects.primary().db, progress=progress
            )
            on_failure.pop_all()
            return file, written
    except OSError as error:
        why = f"the body could not be written to a temporary file: {error.strerror or error}"
        close_attempt.record_not_sent(batch, attempt, error=why)
        raise OSError(error.errno, why, error.filename) from error


def _record_baseline(
    batch: MessageBatch,
    attempt: SubmitAttempt,
    client: BatchesClient,
    written: BodyDigest,
    progress: Callable[[], object],
) -> Baseline | None:
    """Note what is at Anthropic already: this call makes none of it. Failing here is harmless."""

    def pages(after_id: str | None = None, **what: Any) -> Reply[wire.Page]:
        progress()
        return list_page(client, batch.account, after_id, **what)

    baseline = result_or_error(lambda: take_baseline(pages))
    if isinstance(baseline, ClaudeBatchesError):
        close_attempt.record_listing_error(batch, attempt, baseline)
        return None
    store_baseline(attempt, baseline, written)
    return baseline


def _post(
    batch: MessageBatch,
    attempt: SubmitAttempt,
    client: BatchesClient,
    reader: DeadlineReader,
    written: BodyDigest,
    keep: Callable[[], object],
) -> bool:
    reply = result_or_error(
        lambda: client.send(
            cast("BinaryIO", reader),
            size=written.size,
            betas=batch.betas,
            user_profile_id=batch.user_profile_id or None,
            timeout=(CONNECT_TIMEOUT, attempt.read_timeout.total_seconds()),
            total_timeout=attempt.max_duration.total_seconds(),
            on_wait=keep,
        )
    )
    if isinstance(reply, ClaudeBatchesError):
        return close_attempt.record_error(batch, attempt, reply)
    return acceptance.record_acceptance(batch, attempt, reply)


def _mark_sent(batch: MessageBatch, attempt: SubmitAttempt, token: str, baseline: Baseline) -> bool:
    """Set `sent_at`, if and only if the batch is still ours to send. No row, no sending."""
    rows = MessageBatch.objects.primary()
    with transaction.atomic(using=rows.db, durable=True):
        ours = rows.leased_by(batch.pk, token).filter(
            state=State.SUBMITTING, cancel_requested_at__isnull=True, delete_requested_at__isnull=True
        )
        if not ours.update(lease_until=now_plus(sending_lease(attempt))):
            return False
        unsent = SubmitAttempt.objects.using(rows.db).filter(pk=attempt.pk, sent_at__isnull=True)
        until = window_until(attempt, baseline, AccountState.objects.using(rows.db).clock())
        return bool(unsent.update(sent_at=DatabaseNow(), watch_until=now_plus(WATCH_PERIOD), window_until=until))


def sending_lease(attempt: SubmitAttempt) -> timedelta:
    """Return a lease that outlives the call, and the writing down of its answer: no other worker recovers it before."""
    return attempt.max_duration + LEASE


def new_tag() -> str:
    """Give 13 random characters of base32 in lower case: 64 bits, in the alphabet of custom_ids."""
    return base64.b32encode(secrets.token_bytes(8)).decode().rstrip("=").lower()[:TAG_LENGTH]
