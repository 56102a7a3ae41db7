"""Submit the drafted batches of runs as MAX_IN_FLIGHT_REQUESTS allows."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.db.models import F, Sum

from django_claude_batches import conf
from django_claude_batches.db.leases import DatabaseNow
from django_claude_batches.models import AccountState, JobRun, MessageBatch, State
from django_claude_batches.models.batch_state import RUNNING, UNANSWERED
from django_claude_batches.models.run import WORKING, JobRunQuerySet
from django_claude_batches.sanitize import get_logger
from django_claude_batches.services.account_pauses import account_state
from django_claude_batches.services.submission.submit import submit

logger = get_logger(__name__)

# The states of batches whose requests count: those in Anthropic's queue, and those about to be.
IN_QUEUE_STATES = frozenset({State.QUEUED}) | UNANSWERED | RUNNING


@dataclass(slots=True)
class WaitingRun:
    """A run with batches to submit, the oldest first; `in_flight` is the number of its requests in the queue."""

    started: tuple[Any, int]
    in_flight: int
    batches: deque[MessageBatch] = field(default_factory=deque)


def submit_pending(limit: int | None = None) -> int:
    """Submit the batches of runs that the queues of their accounts have room for; return their number.

    The next batch is always one of the run with the fewest requests in flight, the oldest run among equals. `limit` is
    MAX_IN_FLIGHT_REQUESTS unless given; without one, all are submitted. Call it outside transactions.
    """
    most = conf.max_in_flight_requests() if limit is None else limit
    accounts = _submittable().order_by().values_list("account", flat=True).distinct()
    return sum(_submit_or_log(alias, most) for alias in sorted(accounts))


def _submit_or_log(alias: str, most: int | None) -> int:
    try:
        return _submit_account(alias, most)
    except Exception:  # an error of one account must not stop the others; the next tick retries
        logger.exception("Batches of runs of account %s could not be queued.", alias)
        return 0


def _submittable() -> Any:
    return MessageBatch.objects.primary().filter(
        state=State.DRAFT,
        is_filling=False,
        submitted_by_run_at__isnull=True,
        run__state__in=WORKING,
        run__paused_at__isnull=True,
    )


def _submit_account(alias: str, most: int | None) -> int:
    try:
        conf.account(alias)
    except conf.ConfigurationError as error:
        for run in _runs(alias):  # none of its batches can be sent; runs of other accounts continue
            run.pause(f"{error}\n\nFix it, and resume the run.")
        return 0
    states = AccountState.objects.primary().filter(pk=account_state(alias).pk)
    # A transaction of its own: rows that were read before the lock may change.
    with transaction.atomic(using=states.db, durable=True):
        states.update(alias=F("alias"))  # locks the row: two processes must not fill the same room
        # The row locks serialize this with pausing or canceling the runs.
        _runs(alias).update(account=F("account"))
        in_flight = _in_flight(alias)
        chosen = _choose_batches(list(_waiting_runs(alias, in_flight)), most, in_flight.total())
        for batch in chosen:
            # A draft that may have been billed was submitted before by a person who confirmed that.
            submit(batch, allow_duplicate=batch.may_have_been_billed)
            MessageBatch.objects.using(states.db).filter(pk=batch.pk).update(submitted_by_run_at=DatabaseNow())
    return len(chosen)


def _runs(alias: str) -> JobRunQuerySet:
    pks = _submittable().filter(account=alias).order_by().values_list("run", flat=True).distinct()
    return JobRun.objects.primary().filter(pk__in=list(pks))


def _in_flight(alias: str) -> Counter[int | None]:
    """Return how many requests of the account are in the queue, by their run; None for batches without one."""
    queued = MessageBatch.objects.primary().filter(account=alias, state__in=IN_QUEUE_STATES)
    return Counter(dict(queued.order_by().values_list("run").annotate(total=Sum("request_count"))))


def _waiting_runs(alias: str, in_flight: Counter[int | None]) -> Iterable[WaitingRun]:
    runs: dict[int, WaitingRun] = {}
    for batch in _submittable().filter(account=alias).select_related("run").order_by("pk"):
        if batch.run_id not in runs:
            runs[batch.run_id] = WaitingRun((batch.run.started_at, batch.run_id), in_flight[batch.run_id])
        runs[batch.run_id].batches.append(batch)
    return runs.values()


def _choose_batches(runs: list[WaitingRun], most: int | None, in_flight: int) -> list[MessageBatch]:
    """Choose until a batch does not fit. One that is larger than the whole queue is chosen if the queue is empty."""
    chosen = []
    while waiting := [run for run in runs if run.batches]:
        run = min(waiting, key=lambda each: (each.in_flight, each.started))
        batch = run.batches[0]
        if most is not None and in_flight and in_flight + batch.request_count > most:
            break
        chosen.append(run.batches.popleft())
        in_flight += batch.request_count
        run.in_flight += batch.request_count
    return chosen
