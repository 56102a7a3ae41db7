"""Advance batches: send, poll, ingest, announce, cancel, delete, and search for what is not confirmed.

`advance` and `wait` are for your code, `tick` is for the command, and the other functions are for Celery's tasks. To
dispatch a row is to send a task for it, or, in the command, to do its work at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from django.db import Error as DatabaseError

from django_claude_batches import conf
from django_claude_batches.client import BatchesClient
from django_claude_batches.db.leases import DatabaseNow
from django_claude_batches.error_text import format_error
from django_claude_batches.exceptions import WaitTimeout
from django_claude_batches.models import AccountState, MessageBatch
from django_claude_batches.models.account import SLOW_PAUSE
from django_claude_batches.models.batch_state import ALWAYS_DUE, FETCHING, RUNNING, State
from django_claude_batches.sanitize import get_logger
from django_claude_batches.services.account_pauses import account_state, is_paused
from django_claude_batches.services.announcements import announce
from django_claude_batches.services.backoff import NO_DELAY, backoff, jittered
from django_claude_batches.services.connection import connect, require_no_transaction
from django_claude_batches.services.ingestion.ingest import ingest
from django_claude_batches.services.polling import cancel, delete
from django_claude_batches.services.polling.alarms import raise_alarms
from django_claude_batches.services.polling.poll import poll
from django_claude_batches.services.polling.poll_account import delay_polls, poll_account
from django_claude_batches.services.reconciliation import adopt, reconcile
from django_claude_batches.services.slow_accounts import blocked_accounts, may_start_work, stop_after_slow_call
from django_claude_batches.services.submission import send

logger = get_logger(__name__)

# Batches that one tick dispatches; the others stay due for the next.
TICK_ROWS = 1000

# Seconds between two polls of `wait`: the server's own hint (docs/reference/wire.md §2.2).
POLL_INTERVAL = 10.0


def advance(batch: MessageBatch) -> MessageBatch:
    """Do everything that is due for the batch now, in this process: send, poll, fetch, announce, cancel, delete.

    It can spend money: a queued batch is sent. Errors of the API are recorded on the row, not raised;
    ConfigurationError and local errors are raised. If another process has leased the batch, nothing is done. It commits
    as it goes: must run outside a transaction.
    """
    require_no_transaction("advance()")
    _work(batch.pk, only_due=False)
    batch.refresh_from_db(using=MessageBatch.objects.primary().db)
    return batch


def advance_if_due(pk: int) -> None:
    """Do the same for the batch with this primary key, if it is due. For tasks: a repeat does nothing.

    While the account is slow, the batch is rescheduled if another process works for the account, or right after a call
    that was too slow.
    """
    require_no_transaction("advance_if_due()")
    _work(pk, only_due=True, in_turn=True)


def tick(dispatch: Callable[[int], object], *, account: str | None = None) -> int:
    """Dispatch each batch that is due, poll what runs at Anthropic, and dispatch what became due by that.

    For all accounts, or for one. `dispatch` is called with the primary key; return the number of calls. An error of one
    account is logged with its alias, and does not stop the others.
    """
    first: list[int] = []
    failure: Exception | None = None
    try:
        first = _dispatch_due(dispatch, account=account)
    except Exception as error:  # noqa: BLE001 (if the broker is down, batches are still polled)
        failure = error
    for alias in accounts_at_work() if account is None else [account]:
        _tend_account(alias)
    if failure is not None:
        raise failure
    return len(first) + len(_dispatch_due(dispatch, account=account, besides=first))


def dispatch_due_batches(dispatch: Callable[[int], object], *, rest: timedelta) -> int:
    """Call `dispatch` with the primary key of each batch that is due; return their number. Sends no HTTP.

    A batch is not dispatched again within `rest`, unless it was advanced since.
    """
    return len(_dispatch_due(dispatch, rest=rest))


def dispatch_due_polls(dispatch: Callable[[str], object], *, rest: timedelta) -> int:
    """Call `dispatch` with the alias of each account with batches due to be polled; return their number. Sends no HTTP.

    An account is not dispatched again within `rest` unless it was polled since; then within twice that, and so on up to
    15 minutes. Work without HTTP (alarms, and the record of this tick) is done here.
    """
    due = MessageBatch.objects.primary().to_poll().due().exclude(account__in=blocked_accounts()).order_by()
    aliases = sorted(due.values_list("account", flat=True).distinct())
    for alias in accounts_at_work():
        _tend_account(alias, poll=False)
    count = 0
    for alias in aliases:
        if AccountState.objects.dispatch_poll(alias, rest):
            dispatch(alias)
            count += 1
    return count


def poll_if_due(alias: str) -> None:
    """Poll the account's batches that are due. For tasks: a repeat does nothing."""
    require_no_transaction("poll_if_due()")
    with _delaying_polls(alias):
        poll_account(alias)


def _dispatch_due(
    dispatch: Callable[[int], object],
    *,
    rest: timedelta = NO_DELAY,
    account: str | None = None,
    besides: Sequence[int] = (),
) -> list[int]:
    rows = MessageBatch.objects.exclude(account__in=blocked_accounts())
    rows = rows if account is None else rows.filter(account=account)
    return rows.to_advance().dispatch_due(dispatch, rest, limit=TICK_ROWS - len(besides), exclude=besides)


def accounts_at_work() -> list[str]:
    """Return the aliases of the settings and of due batches, including accounts removed from the settings."""
    used = MessageBatch.objects.primary().due().order_by().values_list("account", flat=True).distinct()
    configured: list[str] = []
    try:
        configured = conf.accounts()
    except conf.ConfigurationError:
        logger.exception("The accounts of the settings cannot be read.")
    return sorted({*configured, *used})


def _tend_account(alias: str, *, poll: bool = True) -> None:
    """Record the tick, poll the account, and raise its alarms."""
    with _delaying_polls(alias):
        AccountState.objects.primary().filter(pk=account_state(alias).pk).update(last_tick_at=DatabaseNow())
        if poll:
            poll_account(alias)
        raise_alarms(alias)


@contextmanager
def _delaying_polls(alias: str) -> Iterator[None]:
    """Log an error of an account, and delay its polls."""
    try:
        yield
    except Exception as error:
        logger.exception("Account %s could not be looked after.", alias)
        try:
            delay_polls(alias, error)
        except Exception:
            logger.exception("When to look after account %s again could not be written.", alias)


def begin_tick(*, is_kick: bool) -> bool:
    """Record that a worker's tick begins; return whether it has anything to do.

    A tick from beat has nothing to do if another one began within 20 seconds, by the database's clock, so that ticks
    which waited for a worker are not all run. A kick (a tick that an entry point sends on commit) always has.
    """
    return AccountState.objects.begin_tick(conf.DEFAULT_ACCOUNT) or is_kick


def wait(
    batch: MessageBatch,
    *,
    timeout: float | timedelta | None = None,
    poll_interval: float = POLL_INTERVAL,
    progress: Callable[[MessageBatch], object] | None = None,
) -> MessageBatch:
    """Advance the batch until nothing more happens to it automatically, with or without workers.

    That is when it is complete and announced, lost, abandoned, refused or held, or when sending is paused for its
    account: check its state. It also returns for a batch that is not confirmed, which workers search for. `timeout` and
    `poll_interval` are seconds; `progress` is called after each poll. Raise WaitTimeout after `timeout` (the batch
    continues), and InvalidTransition for a draft. A step that has begun is finished: a poll may take the account's
    `TOTAL_TIMEOUT` longer, and sending and fetching have their own limits.
    """
    require_no_transaction("wait()")
    rows = MessageBatch.objects.primary()
    batch.refresh_from_db(using=rows.db)
    if batch.state == State.DRAFT:
        raise batch.forbidden("wait for", ALWAYS_DUE, "it is not submitted.")
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    give_up_at = None if seconds is None else time.monotonic() + seconds
    while True:
        # A running batch is polled each time, which is free. Other work waits until it is due, or a wait would use up a
        # day's retries.
        _work(batch.pk, only_due=batch.state not in RUNNING)
        batch.refresh_from_db(using=rows.db)
        if progress is not None:
            progress(batch)
        is_over_or_unconfirmed = batch.state == State.UNCERTAIN or not batch.is_live
        if is_over_or_unconfirmed or (batch.state == State.QUEUED and is_paused(batch.account)):
            return batch
        left = None if give_up_at is None else give_up_at - time.monotonic()
        if left is not None and left <= 0:
            label = State(batch.state).label
            raise WaitTimeout(f"Batch {batch} is still: {label}, after {seconds:g} s.", last_status=batch.state)
        time.sleep(poll_interval if left is None else min(poll_interval, left))


@stop_after_slow_call()
def _work(pk: int, *, only_due: bool, in_turn: bool = False) -> None:
    """Do the steps of a batch under its lease.

    With `in_turn` (a worker), the batch waits while its account is slow, and while another create call is made.
    """
    rows = MessageBatch.objects.primary()
    with (rows.due() if only_due else rows).lease(pk, dispatched_at=None) as token:
        if token is None:
            return
        batch = rows.get(pk=pk)
        try:
            if in_turn and not may_start_work(batch.account, holding=pk):
                batch.reschedule(jittered(SLOW_PAUSE), token=token)
                return
            while _step(batch, token, in_turn=in_turn):
                batch.refresh_from_db(using=rows.db)
        except Exception as error:
            _record_error(batch, token, error)
            raise


def _step(batch: MessageBatch, token: str, *, in_turn: bool) -> bool:
    """Do the next step; return whether another one may be due at once."""
    if batch.is_being_identified:
        if adopt.verify_identification(batch, token):
            return True
        if batch.identified_id and batch.state != State.UNCERTAIN:
            return False  # an unverified id of a held or abandoned batch waits; an uncertain one is searched for below
    if delete.is_wanted(batch):
        return delete.perform(batch, token, _client(batch))
    if batch.state in RUNNING:
        client = _client(batch)
        if cancel.is_wanted(batch):
            return cancel.perform(batch, token, client)
        return poll(batch, token, client)
    if batch.state in FETCHING:
        return ingest(batch, token, _client(batch))
    if batch.state == State.INGESTED and batch.announced_at is None:
        return announce(batch, token)
    if batch.state == State.QUEUED:
        return (send.send_in_turn if in_turn else send.send_now)(batch, token)
    if batch.state == State.SUBMITTING:
        return send.recover(batch)
    if batch.state == State.UNCERTAIN:
        return reconcile.reconcile(batch, token, _client(batch))
    batch.clear_next_action(token=token)
    return False


def _client(batch: MessageBatch) -> BatchesClient:
    return connect(batch.account, anthropic_version=batch.anthropic_version)


def _record_error(batch: MessageBatch, token: str, error: Exception) -> None:
    """Record a local error on the row and reschedule it; the error is then raised to the caller."""
    try:
        batch.reschedule(backoff(batch.failures), token=token, error=format_error(error))
    except DatabaseError:
        logger.exception("Batch %s: its error could not be recorded.", batch.pk)
