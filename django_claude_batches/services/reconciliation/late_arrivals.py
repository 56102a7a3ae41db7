"""Watch for batches that appear after their attempt was abandoned, for 25 hours."""

from __future__ import annotations

from collections.abc import Callable
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
    remember_adopted,
    remember_listed,
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
    """Look for late batches of this account, or of each, if the last watch is ten minutes old.

    Return how many attempts are watched; see `watch`. Must run outside a transaction.
    """
    require_no_transaction("watch_due()")
    watched = 0
    for alias in known_accounts() if account is None else [account]:
        if may_start_work(alias) and AccountState.objects.take_turn(alias, "next_watch_at", INTERVAL):
            watched += watch(alias)
    return watched


def dispatch_due_watches(dispatch: Callable[[str], object]) -> None:
    """Call `dispatch` with each account whose last watch is ten minutes old. Sends no HTTP and acquires no lease."""
    for alias in known_accounts():
        if may_start_work(alias) and AccountState.objects.is_turn(alias, "next_watch_at"):
            dispatch(alias)


@stop_after_slow_call()
def watch(alias: str) -> int:
    """Look for an account's late batches; return how many attempts are watched.

    A batch that is found is assigned to its owner: a row that was sent again since keeps both ids, and
    `duplicate_detected` is sent. An error is logged. Must run outside a transaction.
    """
    require_no_transaction("watch()")
    try:
        return _watch(alias)
    except Exception:  # an error of one account must not stop the watch of the others
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
    remember_listed(alias, listing, windows)
    remember_adopted(alias, windows)
    counts = [attempt.batch.request_count for attempt in attempts if attempt.batch is not None]
    rows = [row for row in open_candidates(alias, windows) if not row.is_gone]
    examine(client, rows, listing, likely=counts)
