"""Send a batch at most once.

The API has no idempotency key, and a create call whose answer is lost may be running and billed. So every create call
is recorded before it is made, is fenced by a lease on the database's clock, and is never repeated unless it is certain
that nothing was created (docs/topics/at-most-once.md).
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

from django_claude_batches import conf
from django_claude_batches.client import BatchesClient
from django_claude_batches.client.request_body import DeadlineReader
from django_claude_batches.db.leases import LEASE, DatabaseNow, now_plus
from django_claude_batches.exceptions import ClaudeBatchesError, result_or_error
from django_claude_batches.models import AccountState, JobRun, MessageBatch, RunState, SubmitAttempt
from django_claude_batches.models.attempt import LAST_BLOCK_TIMEOUT
from django_claude_batches.models.batch_state import State
from django_claude_batches.sanitize import get_logger
from django_claude_batches.services.account_pauses import is_paused
from django_claude_batches.services.backoff import NO_DELAY, jittered
from django_claude_batches.services.connection import connect
from django_claude_batches.services.heartbeat import heartbeat, no_renewal
from django_claude_batches.services.submission import acceptance, close_attempt
from django_claude_batches.services.submission.baseline import Baseline, record_baseline
from django_claude_batches.services.submission.body_file import BodyDigest, write_body_file
from django_claude_batches.services.submission.create_turn import WAIT_INTERVAL, WAITING_FOR_OTHER_CREATE, create_turn

logger = get_logger(__name__)

# Seconds, also for each piece of the body that is sent (`BatchesClient.send`).
CONNECT_TIMEOUT = LAST_BLOCK_TIMEOUT.total_seconds()

# How long a batch whose answer never came may still appear: 24 hours of processing, and one for clocks.
WATCH_PERIOD = timedelta(hours=25)

# A resume makes the batches due anyway. This is for one that was put off while the account was being resumed.
PAUSED_RECHECK = timedelta(minutes=5)


def send_now(batch: MessageBatch, token: str) -> bool:
    """Make one create call for a queued batch, under the lease. Return whether there is more to do at once.

    For `advance` and `wait`, in the caller's process: do not wait for other create calls of the account. What the API
    says is recorded on the row. Raise only what this machine does wrong: no key, a full disk.
    """
    return _send(batch, token, no_renewal)


def send_in_turn(batch: MessageBatch, token: str) -> bool:
    """Make the create call, unless it has to wait for another one of the account."""
    with create_turn(batch) as renew_turn:
        if renew_turn is not None:
            return _send(batch, token, renew_turn)
    # What went wrong before is worth more to a person than what it waits for.
    batch.reschedule(jittered(WAIT_INTERVAL), token=token, last_error=batch.last_error or WAITING_FOR_OTHER_CREATE)
    return False


def _send(batch: MessageBatch, token: str, renew_turn: Callable[[], object]) -> bool:
    if is_paused(batch.account):
        batch.reschedule(PAUSED_RECHECK, token=token, **_clear_waiting_error(batch))
        return False
    client = connect(batch.account, anthropic_version=batch.anthropic_version)
    attempt = _open_attempt(batch, token)
    if attempt is None:
        # Uncertain: an earlier attempt may have created it (`_stop_if_sent_before`). It is searched for at once.
        return batch.state == State.UNCERTAIN
    renew = heartbeat({batch.pk: token}, also=renew_turn)
    file, body = _write_body(batch, attempt, renew)
    with file:
        # What this call cannot have made. Nothing was sent yet, so an error of this listing proves nothing.
        baseline = result_or_error(lambda: record_baseline(client, batch, attempt, body, renew))
        if isinstance(baseline, ClaudeBatchesError):
            return close_attempt.record_listing_error(batch, attempt, baseline)
        # The deadline counts from here, so it ends before `sent_at` + `send_deadline`.
        reader = DeadlineReader(file, attempt.send_deadline)
        if not _mark_sent(batch, attempt, token, baseline):
            return close_attempt.record_not_sent(
                batch, attempt, error="Taken back, or overtaken, before it was sent.", delay=NO_DELAY
            )
        # The lease needs no renewal: `_mark_sent` made it outlast the call.
        return _post(batch, attempt, client, reader, body, renew_turn)


def _clear_waiting_error(batch: MessageBatch) -> dict[str, Any]:
    return {"last_error": ""} if batch.last_error == WAITING_FOR_OTHER_CREATE else {}


def recover(batch: MessageBatch) -> bool:
    """Recover an attempt whose worker died or was overtaken. Return whether there is more to do at once.

    The caller holds the lease. That of a batch being sent outlasts its create call, so that call is over.
    """
    attempt = batch.last_attempt
    if attempt is not None and attempt.remote_id:
        return acceptance.record_acceptance(batch, attempt)
    if attempt is None or attempt.sent_at is None:
        return close_attempt.record_not_sent(
            batch, attempt, error="The worker stopped before it was sent.", delay=NO_DELAY
        )
    return close_attempt.record_uncertain(batch, attempt, "The worker stopped while it was being sent.")


def _open_attempt(batch: MessageBatch, token: str) -> SubmitAttempt | None:
    """Record the attempt that is about to be made, and commit.

    Return None if the lease is lost or the batch is no longer queued, if an earlier attempt may have created it, or if
    its run is paused or being canceled.
    """
    rows = MessageBatch.objects.primary()
    # Before the transaction: a key may come from a vault that takes its time.
    account = conf.account(batch.account)
    fingerprint = account.fingerprint
    with transaction.atomic(using=rows.db, durable=True):
        if not rows.renew(batch.pk, token):  # also locks the row
            return None
        if _stop_if_sent_before(batch, token) or _take_back_if_run_stopped(batch, token):
            return None
        # `move` sets the counters to 0. Keep `failures`, so that a refusal of this call lengthens the next back-off.
        keep_failures: dict[str, Any] = {"failures": F("failures")}
        if not batch.move(State.SUBMITTING, allowed={State.QUEUED}, token=token, due=NO_DELAY, **keep_failures):
            return None
        batch.log_event("sending")
        last = batch.last_attempt
        return SubmitAttempt.objects.using(rows.db).create(
            batch=batch,
            number=last.number + 1 if last else 1,
            tag=new_tag(),
            account_fingerprint=fingerprint,
            workspace_id=account.workspace_id or "",
            recorded_at=DatabaseNow(),
            send_deadline=conf.send_deadline(),
            read_timeout=conf.create_read_timeout(),
        )


def _stop_if_sent_before(batch: MessageBatch, token: str) -> bool:
    """Make a batch uncertain if an earlier attempt created it at Anthropic, or may have. Return whether one did.

    No function of this app queues such a batch; a restored backup may, or an UPDATE by hand.
    """
    made = batch.attempts.using(MessageBatch.objects.primary().db).may_have_created().last()
    if made is None:
        return False
    why = f"Attempt {made.number} may have created it already, so it is not sent again."
    if batch.move(State.UNCERTAIN, allowed={State.QUEUED}, token=token, due=NO_DELAY, last_error=why):
        batch.log_event("uncertain", why)
    return True


def _take_back_if_run_stopped(batch: MessageBatch, token: str) -> bool:
    """Make a batch a draft again if its run is paused or being canceled. Return whether the run is.

    A paused run submits it when it is resumed. The batch's row, which `_open_attempt` has locked, serializes this with
    pausing or canceling the run.
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
    batch: MessageBatch, attempt: SubmitAttempt, renew: Callable[[], object]
) -> tuple[IO[bytes], BodyDigest]:
    """Write the body to a temporary file. If that fails (a full disk), queue the batch again and raise OSError."""
    try:
        with ExitStack() as on_failure:  # close the file only if writing it fails: otherwise the caller closes it
            file = on_failure.enter_context(tempfile.TemporaryFile())
            using = MessageBatch.objects.primary().db
            body = write_body_file(file, batch, attempt.tag, using=using, progress=renew)
            on_failure.pop_all()
            return file, body
    except OSError as error:
        why = f"the body could not be written to a temporary file: {error.strerror or error}"
        close_attempt.record_not_sent(batch, attempt, error=why, is_counted=False)  # the engine counts what is raised
        raise OSError(error.errno, why, error.filename) from error


def _post(
    batch: MessageBatch,
    attempt: SubmitAttempt,
    client: BatchesClient,
    reader: DeadlineReader,
    body: BodyDigest,
    renew_turn: Callable[[], object],
) -> bool:
    reply = result_or_error(
        lambda: client.send(
            cast("BinaryIO", reader),
            size=body.size,
            betas=batch.betas,
            user_profile_id=batch.user_profile_id or None,
            timeout=(CONNECT_TIMEOUT, attempt.read_timeout.total_seconds()),
            total_timeout=attempt.max_duration.total_seconds(),
            on_wait=renew_turn,
        )
    )
    if isinstance(reply, ClaudeBatchesError):
        return close_attempt.record_error(batch, attempt, reply)
    return acceptance.record_acceptance(batch, attempt, reply)


def _mark_sent(batch: MessageBatch, attempt: SubmitAttempt, token: str, baseline: Baseline) -> bool:
    """Set `sent_at`, if and only if the batch is still ours to send. If it returns False, nothing may be sent."""
    rows = MessageBatch.objects.primary()
    with transaction.atomic(using=rows.db, durable=True):
        ours = rows.leased_by(batch.pk, token).filter(
            state=State.SUBMITTING, cancel_requested_at__isnull=True, delete_requested_at__isnull=True
        )
        if not ours.update(lease_until=now_plus(sending_lease(attempt))):
            return False
        unsent = SubmitAttempt.objects.using(rows.db).filter(pk=attempt.pk, sent_at__isnull=True)
        # Until `watch_until`, by the database's clock, the batch may still be listed; it was not created after
        # `window_until`, by the server's.
        now = max(AccountState.objects.using(rows.db).clock(), baseline.listed_at)
        until = now + baseline.window_length
        return bool(unsent.update(sent_at=DatabaseNow(), watch_until=now_plus(WATCH_PERIOD), window_until=until))


def sending_lease(attempt: SubmitAttempt) -> timedelta:
    """Return how long the lease has to last for the call and for recording its answer."""
    return attempt.max_duration + LEASE


def new_tag() -> str:
    """Return 13 (TAG_LENGTH) random characters of base32 in lower case: 64 bits, in the alphabet of custom_ids."""
    return base64.b32encode(secrets.token_bytes(8)).decode().rstrip("=").lower()
