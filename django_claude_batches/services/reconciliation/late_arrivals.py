"""Batches that turn up after all: attempts that nobody waits for any more are watched for 25 hours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial

from django_claude_batches.conf import ConfigurationError
from django_claude_batches.exceptions import ClaudeBatchesError
from django_claude_batches.models import AccountState
from django_claude_batches.sanitize import get_logger
from django_claude_batches.services.account_pauses import known_accounts
from django_claude_batches.services.connection import connect, require_no_transaction
from django_claude_batches.services.listings.candidates import (
    delete_candidates,
    gone_ids,
    open_candidates,
    store_adopted_candidates,
    store_candidates,
    watched_attempts,
)
from django_claude_batches.services.listings.page import list_page
from django_claude_batches.services.listings.search import list_for_attempts
from django_claude_batches.services.listings.windows import Window
from django_claude_batches.services.reconciliation.inspection import examine
from django_claude_batches.services.slow_accounts import may_start_work, stop_after_slow_call

logger = get_logger(__name__)

INTERVAL = timedelta(minutes=10)


def watch_due(account: str | None = None) -> int:
    """Look for late batches of each account, or this one, whose last look is ten minutes old.

    Give how many attempts are watched; see `watch`. Not inside a transaction.
    """
    require_no_transaction("watch_due()")
    return sum(watch(alias) for alias in _accounts_due(account))


def dispatch_due_watches(dispatch: Callable[[str], object]) -> None:
    """`dispatch` the alias of each account whose last look is ten minutes old. Asks no server, and takes no turn."""
    for alias in known_accounts():
        if may_start_work(alias) and AccountState.objects.is_turn(alias, "next_watch_at"):
            dispatch(alias)


def _accounts_due(account: str | None) -> Iterator[str]:
    for alias in known_accounts() if account is None else [account]:
        if may_start_work(alias) and AccountState.objects.take_turn(alias, "next_watch_at", INTERVAL):
            yield alias


@stop_after_slow_call()
def watch(alias: str) -> int:
    """Look for an account's late batches; give how many attempts are watched.

    What is found goes to its owner: a row that moved on meanwhile keeps both ids, and `duplicate_detected` is sent. An
    account that fails says so in the log. Not inside a transaction.
    """
    require_no_transaction("watch()")
    try:
        return _watch(alias)
    except Exception:  # one account's oddity ends no other's watch
        logger.exception("Account %s could not be watched for late batches.", alias)
        return 0


def _watch(alias: str) -> int:
    attempts = list(watched_attempts(alias).select_related("batch").order_by("sent_at", "pk"))
    if not attempts:
        delete_candidates(alias)
        return 0
    try:
        _inspect_late_batches(alias, [Window.of(attempt).without_end() for attempt in attempts])
    except (ClaudeBatchesError, ConfigurationError) as error:
        logger.warning("Watching account %s for late batches: %s", alias, error)
    return len(attempts)


def _inspect_late_batches(alias: str, windows: list[Window]) -> None:
    client = connect(alias)
    attempts = [window.attempt for window in windows]
    listing = list_for_attempts(partial(list_page, client, alias), alias, attempts, gone_ids(alias), to_the_newest=True)
    store_candidates(alias, listing, windows)
    store_adopted_candidates(alias, windows)
    counts = [attempt.batch.request_count for attempt in attempts if attempt.batch is not None]
    rows = [row for row in open_candidates(alias, windows) if not row.is_gone]
    examine(client, rows, listing, likely=counts)
