"""Take turns: with several accounts, each makes one create call at a time.

A create call may wait for ten minutes until it runs into its limit, and holds its worker for that long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from django.db import Error as DatabaseError

from django_claude_batches import conf
from django_claude_batches.db.leases import DatabaseNow
from django_claude_batches.models import AccountState, MessageBatch, State
from django_claude_batches.sanitize import get_logger
from django_claude_batches.services.account_pauses import is_paused
from django_claude_batches.services.heartbeat import at_intervals, no_renewal

# How long a batch waits while another create call of its account runs. The first to wait is due when that ends.
WAIT_INTERVAL = timedelta(minutes=2)

# Also matched in `last_error`: do not translate it.
WAITING_FOR_OTHER_CREATE = "It waits for another create call of its account to end."

# Seconds between two renewals of a turn.
RENEWAL_SECONDS = 20.0

logger = get_logger(__name__)


@contextmanager
def create_turn(batch: MessageBatch) -> Iterator[Callable[[], object] | None]:
    """Yield a function that renews the batch's turn to make its create call; None while another batch has it.

    The turn of a killed worker ends after a minute and a half. With a single account no other account has to wait, so
    any number of calls may be made.
    """
    if len(conf.accounts()) == 1:
        yield no_renewal
        return
    states = AccountState.objects
    if not states.begin_create(batch.account, batch.pk):
        yield None
        return

    def renew() -> None:
        try:
            states.renew_create(batch.account, batch.pk)
        except DatabaseError:  # the answer of the create call matters more
            logger.exception("Batch %s: recording that its create call is still being made failed.", batch.pk)

    try:
        yield at_intervals(RENEWAL_SECONDS, renew)
    finally:
        try:
            _end_turn(batch)
        except DatabaseError:  # it expires
            logger.exception("Batch %s: recording the end of its create call failed.", batch.pk)


def _end_turn(batch: MessageBatch) -> None:
    """Allow the account's next create call: the batch that has waited longest is due now."""
    AccountState.objects.end_create(batch.account, batch.pk)
    if is_paused(batch.account):
        return
    rows = MessageBatch.objects.primary()
    waiting = rows.filter(account=batch.account, state=State.QUEUED, last_error=WAITING_FOR_OTHER_CREATE)
    first = waiting.exclude(pk=batch.pk).order_by("queued_at", "pk").first()
    if first is not None:
        waiting.filter(pk=first.pk).update(next_action_at=DatabaseNow())
