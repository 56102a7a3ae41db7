"""Batches that turn up after all: attempts that nobody waits for any more are watched for 25 hours."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import timedelta

from django.db.models import Q

from django_claude_batches import wire
from django_claude_batches.conf import ConfigurationError
from django_claude_batches.exceptions import ClaudeBatchesError
from django_claude_batches.models import AccountState, Outcome, SubmitAttempt
from django_claude_batches.models.attempt import SubmitAttemptQuerySet
from django_claude_batches.models.lease import DatabaseNow, after
from django_claude_batches.models.state import State
from django_claude_batches.services.connection import connect
from django_claude_batches.services.reconciliation import examine, is_candidate
from django_claude_batches.services.searching import list_since

logger = logging.getLogger(__name__)

INTERVAL = timedelta(minutes=10)

GIVEN_UP = Q(outcome=Outcome.NOT_RECEIVED) | Q(outcome=Outcome.UNCERTAIN, batch__state=State.ABANDONED)


def watch(alias: str) -> int:
    """Look for late batches of the account's attempts, if it is time to; give how many attempts are watched.

    What is found goes to its owner: a row that moved on meanwhile keeps both ids, and `duplicate_detected` is sent.
    """
    attempts = list(watched(alias).select_related("batch").order_by("sent_at", "pk"))
    if not attempts or not _its_time(alias):
        return len(attempts)
    failure: Exception | None = None
    try:
        _look(alias, attempts)
    except (ClaudeBatchesError, ConfigurationError) as error:
        failure = error
    if failure is not None:
        logger.warning("Watching account %s for late batches: %s", alias, failure)
    return len(attempts)


def watched(alias: str) -> SubmitAttemptQuerySet:
    """Those whose batch counts as not received, or was given up, and may still appear."""
    return _alive(alias).filter(GIVEN_UP)


def searched_for(alias: str) -> SubmitAttemptQuerySet:
    """Those that may have made a batch whose id is not known: also the ones that are waited for."""
    open_ones = Q(outcome__in=[Outcome.OPEN, Outcome.UNCERTAIN], sent_at__isnull=False)
    return _alive(alias).filter(GIVEN_UP | open_ones).select_related("batch")


def _alive(alias: str) -> SubmitAttemptQuerySet:
    attempts = SubmitAttempt.objects.primary().filter(batch__account=alias, remote_id__isnull=True)
    waiting = Q(watch_until__gt=DatabaseNow()) | Q(batch__state=State.UNCERTAIN)
    return attempts.filter(waiting)


def _its_time(alias: str) -> bool:
    """Take the turn: whoever moves the hour looks."""
    states = AccountState.objects.primary().filter(alias=alias)
    due = states.filter(Q(next_watch_at__isnull=True) | Q(next_watch_at__lte=DatabaseNow()))
    return bool(due.update(next_watch_at=after(INTERVAL)))


def _look(alias: str, attempts: list[SubmitAttempt]) -> None:
    client = connect(alias)
    for data in list_since(client, attempts[0], alias).batches:
        maybe = list(_of(data, attempts))
        if maybe and data["processing_status"] == "ended":
            examine(client, maybe, data)


def _of(data: wire.MessageBatch, attempts: Iterable[SubmitAttempt]) -> Iterable[SubmitAttempt]:
    for attempt in attempts:
        batch = attempt.batch
        if batch is not None and is_candidate(data, attempt, batch.request_count):
            yield attempt
