"""Limit what an account with a slow server may block.

A call that runs into a time limit holds its worker for that long, and hundreds of rows may be due that would make such
a call. So the account's row records it: for a minute its server gets no requests, and for ten minutes only one worker
at a time works for it. A create call may wait for ten minutes until it runs into its limit, so with several accounts
each makes one at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from datetime import timedelta

from django.db import Error as DatabaseError

from django_claude_batches import conf
from django_claude_batches.db.leases import DatabaseNow
from django_claude_batches.exceptions import APITimeoutError
from django_claude_batches.models import AccountState, MessageBatch, State
from django_claude_batches.sanitize import get_logger
from django_claude_batches.services.account_pauses import account_state, is_paused
from django_claude_batches.services.heartbeat import at_intervals

# How long a batch waits while another create call of its account runs. The first to wait is due when that ends.
CREATE_WAIT_INTERVAL = timedelta(minutes=2)

# Also matched in `last_error`: do not translate it.
WAITING_FOR_OTHER_CREATE = "It waits for another create call of its account to end."

# Seconds between two renewals during a create call.
CREATE_RENEWAL_SECONDS = 20.0

logger = get_logger(__name__)

# The accounts with a call that was too slow in this step; None outside of steps.
_slow_accounts: ContextVar[set[str] | None] = ContextVar("_slow_accounts", default=None)


@contextmanager
def stop_after_slow_call() -> Iterator[None]:
    """Refuse a step's further calls for an account after one that was too slow: each could take its full limit."""
    token = _slow_accounts.set(set())
    try:
        yield
    finally:
        _slow_accounts.reset(token)


def recording_slow_calls(alias: str) -> Callable[[], AbstractContextManager[None]]:
    """Return a factory of context managers for the account's calls: they record a slow call, and refuse the next."""

    @contextmanager
    def call() -> Iterator[None]:
        slow_ones = _slow_accounts.get()
        if slow_ones is not None and alias in slow_ones:
            raise APITimeoutError("Not asked: the call before this one was too slow.", sent=False)
        try:
            yield
        except APITimeoutError as error:
            if slow_ones is not None:
                slow_ones.add(alias)
            _record_slow_call(alias, error)
            raise

    return call


def _record_slow_call(alias: str, error: APITimeoutError) -> None:
    """Record it on the account's row, whatever the caller does about the error."""
    logger.warning("Account %s: a call was too slow: %s", alias, error)
    try:
        states = AccountState.objects.primary().filter(pk=account_state(alias).pk)
        if not states.slow().exists():
            states.update(slow_since=DatabaseNow())
        states.update(slow_at=DatabaseNow())
    except DatabaseError:
        logger.exception("Account %s: recording a slow call failed.", alias)


def may_start_work(alias: str, *, holding: int | None = None, is_polling: bool = False) -> bool:
    """Return whether work for the account may begin.

    Always True while the account is not slow. While it is, only one worker may work, and none within the pause. The
    caller passes the batch (`holding`) or the account's row (`is_polling`) that it has leased for this work.
    """
    states = AccountState.objects.primary().filter(alias=alias)
    if not states.slow().exists():
        return True
    at_work = MessageBatch.objects.primary().leased().filter(account=alias).exclude(pk=holding or 0)
    is_polled = not is_polling and states.leased().exists()
    return not (is_polled or states.cooling_down().exists() or at_work.exists())


def blocked_accounts() -> list[str]:
    """Return the aliases of the accounts for which no work may begin now."""
    slow = list(AccountState.objects.primary().slow().values_list("alias", flat=True))
    return [alias for alias in slow if not may_start_work(alias)]


@contextmanager
def one_create_at_a_time(batch: MessageBatch) -> Iterator[Callable[[], object] | None]:
    """Yield a function that records that the batch's create call is still being made; None while another one is.

    A killed worker's call counts for a minute and a half. With a single account no other account has to wait, so any
    number of calls may be made.
    """
    if len(conf.accounts()) == 1:
        yield lambda: None
        return
    states = AccountState.objects
    if not states.begin_create(batch.account, batch.pk):
        yield None
        return

    def keep() -> None:
        try:
            states.renew_create(batch.account, batch.pk)
        except DatabaseError:  # the answer of the create call matters more
            logger.exception("Batch %s: recording that its create call is still being made failed.", batch.pk)

    try:
        yield at_intervals(CREATE_RENEWAL_SECONDS, keep)
    finally:
        try:
            _end_create(batch)
        except DatabaseError:  # it expires
            logger.exception("Batch %s: recording the end of its create call failed.", batch.pk)


def _end_create(batch: MessageBatch) -> None:
    """Allow the account's next create call: the batch that has waited longest is due now."""
    AccountState.objects.end_create(batch.account, batch.pk)
    if is_paused(batch.account):
        return
    rows = MessageBatch.objects.primary()
    waiting = rows.filter(account=batch.account, state=State.QUEUED, last_error=WAITING_FOR_OTHER_CREATE)
    first = waiting.exclude(pk=batch.pk).order_by("queued_at", "pk").first()
    if first is not None:
        waiting.filter(pk=first.pk).update(next_action_at=DatabaseNow())
