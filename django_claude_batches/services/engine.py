"""Doing what is due for a batch: the one loop that everything else calls."""

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

TICK_ROWS = 1000
"""Batches that one tick hands out; the rest stays due for the next."""

POLL_INTERVAL = 10.0
"""Seconds between two looks of `wait`: the server's own hint (docs/reference/wire.md §2.2)."""


def advance(batch: MessageBatch) -> MessageBatch:
    """Do now, in this process, everything that is due for the batch: send, poll, fetch, announce, cancel, delete.

    It can spend money: a queued batch is sent. What Anthropic says is recorded on the row, not raised; raised are
    ConfigurationError and what this machine does wrong. If another process is at it, nothing is done. Not inside a
    transaction: it commits as it goes.
    """
    require_no_transaction("advance()")
    _work(batch.pk, only_due=False)
    batch.refresh_from_db(using=MessageBatch.objects.primary().db)
    return batch


def advance_if_due(pk: int) -> None:
    """Do the same for the batch with this primary key, if its time has come. For tasks: a repeat does nothing.

    While the account is slow, only if no other process works for it, and not right after a call that was too slow; else
    the batch is put off.
    """
    require_no_transaction("advance_if_due()")
    _work(pk, only_due=True, in_turn=True)


def tick(dispatch: Callable[[int], object], *, account: str | None = None) -> int:
    """Dispatch each batch that is due, mirror what runs at Anthropic, and dispatch what became due by that.

    Of all accounts, or of one. `dispatch` is called with the primary key; return how often. What goes wrong with one
    account is logged with its alias, and stops no other.
    """
    first: list[int] = []
    failure: Exception | None = None
    try:
        first = _dispatch_due(dispatch, account=account)
    except Exception as error:  # noqa: BLE001 (a broker that is away: what runs is mirrored all the same)
        failure = error
    for alias in accounts_at_work() if account is None else [account]:
        _tend_account(alias)
    if failure is not None:
        raise failure
    return len(first) + len(_dispatch_due(dispatch, account=account, besides=first))


def dispatch_due_batches(dispatch: Callable[[int], object], *, rest: timedelta) -> int:
    """`dispatch` the primary key of each batch that is due, and give their number. Asks no server.

    For `rest` a batch is not dispatched again, unless it was advanced meanwhile.
    """
    return len(_dispatch_due(dispatch, rest=rest))


def dispatch_due_polls(dispatch: Callable[[str], object], *, rest: timedelta) -> int:
    """`dispatch` the alias of each account of which batches are to be polled, and give their number. Asks no server.

    An account is not dispatched again for `rest`, unless it was polled meanwhile; then for twice as long, and so on
    up to 15 minutes. What is due without being polled, alarms and the mark of this tick, is done here.
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
    pks = rows.dispatch_due(TICK_ROWS - len(besides), rest, besides=besides)
    for pk in pks:
        dispatch(pk)
    return pks


def accounts_at_work() -> list[str]:
    """Return the aliases of the settings, and of the batches that are due: those of an account that was removed too."""
    used = MessageBatch.objects.primary().due().order_by().values_list("account", flat=True).distinct()
    configured: list[str] = []
    try:
        configured = conf.accounts()
    except conf.ConfigurationError:
        logger.exception("The accounts of the settings cannot be read.")
    return sorted({*configured, *used})


def _tend_account(alias: str, *, poll: bool = True) -> None:
    """Note that a tick came by, poll the account, and raise its alarms."""
    with _delaying_polls(alias):
        AccountState.objects.primary().filter(pk=account_state(alias).pk).update(last_tick_at=DatabaseNow())
        if poll:
            poll_account(alias)
        raise_alarms(alias)


@contextmanager
def _delaying_polls(alias: str) -> Iterator[None]:
    """Log what goes wrong with an account, and delay its polls."""
    try:
        yield
    except Exception as error:
        logger.exception("Account %s could not be looked after.", alias)
        _delay_polls(alias, error)


def _delay_polls(alias: str, error: Exception) -> None:
    try:
        delay_polls(alias, error)
    except Exception:
        logger.exception("When to look after account %s again could not be written.", alias)


def begin_tick(*, is_kick: bool) -> bool:
    """Note that a tick of a worker begins; return whether it has anything to do.

    A tick of beat has not if another one began within 20 seconds, by the database's clock: so what waited for a worker
    is not done over and over. A kick always has.
    """
    return AccountState.objects.begin_tick(conf.DEFAULT_ACCOUNT) or is_kick


def wait(
    batch: MessageBatch,
    *,
    timeout: float | timedelta | None = None,
    poll_interval: float = POLL_INTERVAL,
    progress: Callable[[MessageBatch], object] | None = None,
) -> MessageBatch:
    """Advance the batch until nothing more happens to it by itself, with or without workers.

    That is when it is complete and announced, lost, given up, refused, not received or not confirmed, or when sending
    is paused for its account: look at its state. `timeout` and `poll_interval` are seconds; `progress` is called after
    each look. Raise WaitTimeout when the time is over (the batch goes on), and InvalidTransition for a draft. What has
    begun is finished: a look may take the account's `TOTAL_TIMEOUT` longer, sending and fetching their own times.
    """
    require_no_transaction("wait()")
    rows = MessageBatch.objects.primary()
    batch.refresh_from_db(using=rows.db)
    if batch.state == State.DRAFT:
        raise batch.forbidden("wait for", ALWAYS_DUE, "it is not submitted.")
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    give_up_at = None if seconds is None else time.monotonic() + seconds
    while True:
        # Looking is free. What else there is to do keeps to its time, or a wait would use up the tries of a day.
        _work(batch.pk, only_due=batch.state not in RUNNING)
        batch.refresh_from_db(using=rows.db)
        if progress is not None:
            progress(batch)
        waits_for_a_person = batch.state == State.UNCERTAIN or not batch.is_live
        if waits_for_a_person or (batch.state == State.QUEUED and is_paused(batch.account)):
            return batch
        left = None if give_up_at is None else give_up_at - time.monotonic()
        if left is not None and left <= 0:
            label = State(batch.state).label
            raise WaitTimeout(f"Batch {batch} is still: {label}, after {seconds:g} s.", last_status=batch.state)
        time.sleep(poll_interval if left is None else min(poll_interval, left))


@stop_after_slow_call()
def _work(pk: int, *, only_due: bool, in_turn: bool = False) -> None:
    rows = MessageBatch.objects.primary()
    token = (rows.due() if only_due else rows).acquire(pk, dispatched_at=None)
    if token is None:
        return
    batch = None
    try:
        batch = rows.get(pk=pk)
        if in_turn and not may_start_work(batch.account, holding=pk):
            batch.reschedule(jittered(SLOW_PAUSE), token=token)
            return
        while _step(batch, token, in_turn=in_turn):
            batch.refresh_from_db(using=rows.db)
    except Exception as error:
        if batch is not None:
            _record_error(batch, token, error)
        raise
    finally:
        rows.release(pk, token)


def _step(batch: MessageBatch, token: str, *, in_turn: bool) -> bool:
    """Do the next thing; give whether there may be another to do at once."""
    if batch.is_being_identified:
        if adopt.verify_identification(batch, token):
            return True
        if batch.identified_id and batch.state != State.UNCERTAIN:
            return False  # it waits; one that is searched for goes on being searched for
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
        return (send.send_in_turn if in_turn else send.send)(batch, token)
    if batch.state == State.SUBMITTING:
        return send.recover(batch, token)
    if batch.state == State.UNCERTAIN:
        return reconcile.reconcile(batch, token, _client(batch))
    batch.clear_next_action(token=token)
    return False


def _client(batch: MessageBatch) -> BatchesClient:
    return connect(batch.account, anthropic_version=batch.anthropic_version)


def _record_error(batch: MessageBatch, token: str, error: Exception) -> None:
    """Write on the row what went wrong here, and come back later; the error itself goes on to the caller."""
    try:
        batch.reschedule(backoff(batch.failures), token=token, error=format_error(error))
    except DatabaseError:
        logger.exception("Batch %s: its error could not be recorded.", batch.pk)
