"""Limit what an account with a slow server may block.

A call that runs into a time limit holds its worker for that long, and hundreds of rows may be due that would make such
a call. So the account's row records it: for a minute its server gets no requests, and for ten minutes only one worker
at a time works for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

from django.db import Error as DatabaseError

from django_claude_batches.db.leases import DatabaseNow
from django_claude_batches.exceptions import APITimeoutError
from django_claude_batches.models import AccountState, MessageBatch
from django_claude_batches.sanitize import get_logger
from django_claude_batches.services.account_pauses import account_state

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
