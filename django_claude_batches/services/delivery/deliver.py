"""Deliver a chunk of a batch's results to the job, slice by slice, under the chunk's lease.

What a handler writes to this database and the mark that the row is delivered are one transaction (`transaction`): it
takes effect exactly once. Anything else that a handler does happens at least once: the rows of a transaction that was
undone, since the process died or the database failed, are delivered again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

from django.db.models import F

from django_claude_batches import job_registry
from django_claude_batches.db.dispatch import is_due
from django_claude_batches.db.leases import DatabaseNow
from django_claude_batches.error_text import format_error
from django_claude_batches.models import DeliveryChunk, JobRun
from django_claude_batches.sanitize import get_logger
from django_claude_batches.services.backoff import NO_DELAY, backoff
from django_claude_batches.services.connection import require_no_transaction
from django_claude_batches.services.delivery.deliver_slice import deliver_slice
from django_claude_batches.services.delivery.slice import undelivered_requests
from django_claude_batches.services.job_calls import TRANSIENT_DATABASE_ERRORS

logger = get_logger(__name__)

# Chunks that one tick dispatches; the rest stays due for the next.
TICK_CHUNKS = 1000

# After this, a chunk is left to the next task, so that no task reaches its time limit.
MAX_TASK_SECONDS = 20 * 60.0

# The try from which each row has a transaction of its own: this shows which of them fails.
ROW_BY_ROW_FROM_TRY = 3

# Consecutive failed tries (the database failed, or the process died) before the chunk is stopped and reported.
MAX_TRIES = 5


def dispatch_due_deliveries(dispatch: Callable[[int], object], *, rest: timedelta) -> int:
    """Call `dispatch` with the primary key of each chunk that is due; return their number."""
    return len(DeliveryChunk.objects.dispatch_due(dispatch, rest, limit=TICK_CHUNKS))


def deliver_if_due(pk: int) -> None:
    """Deliver a chunk's results if it is due. For tasks: a repeat does nothing. Call it outside transactions."""
    require_no_transaction("deliver_if_due()")
    deliver(pk, only_due=True)


def deliver(pk: int, *, only_due: bool = False) -> None:
    """Deliver a chunk's results under its lease; do nothing if its run is paused or another process has it."""
    rows = DeliveryChunk.objects.primary()
    if not rows.unpaused().filter(pk=pk).exists():
        return
    # Only the chunk's own columns are conditions: with one on the run, the UPDATE would also read the chunk in a
    # subquery, and two processes could both acquire the lease.
    undone = rows.undone().filter(is_due()) if only_due else rows.undone()
    with undone.lease(pk, dispatched_at=None, failures=F("failures") + 1) as token:
        if token is None:
            return
        _deliver_or_stop(rows.select_related("batch__run").get(pk=pk), token)
    _wake_run(pk)


def _deliver_or_stop(chunk: DeliveryChunk, token: str) -> None:
    job = job_registry.find(chunk.batch.kind)
    if job is None:
        _stop(chunk, token, _unknown_job(chunk.batch.kind))
    elif chunk.failures > MAX_TRIES:
        _stop(chunk, token, _too_many_tries(chunk))
    else:
        try:
            _deliver_all(chunk, token, job)
        except Exception as error:
            chunk.reschedule(backoff(chunk.failures - 1), token=token, last_error=format_error(error))
            raise


def _deliver_all(chunk: DeliveryChunk, token: str, job: job_registry.Job) -> None:
    """Deliver slice by slice; row by row from the third try, and after an error that is not transient.

    Row by row shows which row causes the error: it is recorded as that row's. What is left when the time is over stays
    due.
    """
    alone = chunk.failures >= ROW_BY_ROW_FROM_TRY
    stop_at = time.monotonic() + MAX_TASK_SECONDS
    has_more = True
    while has_more and time.monotonic() < stop_at:
        try:
            has_more = deliver_slice(chunk.pk, token, job, alone=alone)
        except Exception as error:
            if isinstance(error, TRANSIENT_DATABASE_ERRORS) and chunk.failures < ROW_BY_ROW_FROM_TRY:
                raise
            if alone:
                has_more = deliver_slice(chunk.pk, token, job, alone=True, failure=error)
            else:
                logger.warning("Delivery %s: %s: its rows are delivered one by one now.", chunk.pk, error)
                alone = True
    if has_more:  # its time is over; this was no failed try
        rows = DeliveryChunk.objects.primary()
        rows.leased_by(chunk.pk, token).update(failures=F("failures") - 1)


def _stop(chunk: DeliveryChunk, token: str, why: str) -> None:
    """Require a person: pause the run, or, if there is none that is active, stop retrying the chunk."""
    logger.error("Batch %s: %s", chunk.batch_id, why)
    run = chunk.batch.run
    if run is not None and run.is_active:
        run.pause(why)
        chunk.reschedule(NO_DELAY, token=token, last_error=why, failures=0)
    else:
        chunk.reschedule(None, token=token, last_error=why)


def _unknown_job(name: str) -> str:
    return (
        f"{job_registry.unknown_job_message(name)} So its results wait. Restore its code, or give the job that took "
        f'its place `name = "{name}"`; restart the workers, and resume the run.'
    )


def _too_many_tries(chunk: DeliveryChunk) -> str:
    request = undelivered_requests(chunk, using=DeliveryChunk.objects.primary().db).order_by("position").first()
    where = "at its end" if request is None else f"at request {request} (position {request.position})"
    return (
        f"{MAX_TRIES} processes in a row failed {where}: a handler may have killed them. Fix it, and resume "
        f"the run. {chunk.last_error}"
    ).rstrip()


def _wake_run(pk: int) -> None:
    """Make the run due if this was the last chunk of its batch.

    It is called after the chunk's commit: of several chunks that end at the same time, the last sees that all are done.
    """
    rows = DeliveryChunk.objects.primary()
    for batch, run in rows.filter(pk=pk, batch__run__isnull=False).values_list("batch", "batch__run"):
        if not rows.undone().filter(batch=batch).exists():
            runs = JobRun.objects.using(rows.db).filter(pk=run, next_action_at__isnull=False)
            runs.update(next_action_at=DatabaseNow())
