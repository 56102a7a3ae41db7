"""Batches that turn up after all: attempts that nobody waits for any more are watched for 25 hours."""

from __future__ import annotations

import logging
from datetime import timedelta
from functools import partial

from django_claude_batches.conf import ConfigurationError
from django_claude_batches.exceptions import ClaudeBatchesError
from django_claude_batches.models import AccountState
from django_claude_batches.services.connection import connect, outside_transactions
from django_claude_batches.services.examining import examine
from django_claude_batches.services.pages import page_of
from django_claude_batches.services.pausing import known_accounts
from django_claude_batches.services.remembering import (
    forget,
    gone_ids,
    open_ones,
    remember,
    remember_adopted,
    watched,
)
from django_claude_batches.services.searching import list_for
from django_claude_batches.services.windows import Window

logger = logging.getLogger(__name__)

INTERVAL = timedelta(minutes=10)


def watch_due() -> int:
    """Look for late batches of each account whose last look is ten minutes old; give how many attempts are watched.

    What is found goes to its owner: a row that moved on meanwhile keeps both ids, and `duplicate_detected` is sent. An
    account that fails says so in the log, and ends no other's watch. Not inside a transaction.
    """
    outside_transactions("watch_due()")
    return sum(_watch_or_log(alias) for alias in known_accounts() if _is_due(alias))


def _is_due(alias: str) -> bool:
    return AccountState.objects.take_turn(alias, "next_watch_at", INTERVAL)


def _watch_or_log(alias: str) -> int:
    try:
        return _watch(alias)
    except Exception:  # one account's oddity ends no other's watch
        logger.exception("Account %s could not be watched for late batches.", alias)
        return 0


def _watch(alias: str) -> int:
    attempts = list(watched(alias).select_related("batch").order_by("sent_at", "pk"))
    if not attempts:
        forget(alias)
        return 0
    failure: Exception | None = None
    try:
        _look(alias, [Window.of(attempt).without_end() for attempt in attempts])
    except (ClaudeBatchesError, ConfigurationError) as error:
        failure = error
    if failure is not None:
        logger.warning("Watching account %s for late batches: %s", alias, failure)
    return len(attempts)


def _look(alias: str, windows: list[Window]) -> None:
    client = connect(alias)
    attempts = [window.attempt for window in windows]
    listing = list_for(partial(page_of, client, alias), alias, attempts, gone_ids(alias), to_the_newest=True)
    remember(alias, listing, windows)
    remember_adopted(alias, windows)
    counts = [attempt.batch.request_count for attempt in attempts if attempt.batch is not None]
    rows = [row for row in open_ones(alias, windows) if not row.is_gone]
    examine(client, rows, listing, likely=counts)
