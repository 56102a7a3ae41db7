"""Delivery: each result reaches its job once, with what the job writes and the mark of it in one transaction.

So exactly once for what a handler writes to this database, and at least once for anything else that it does: a process
that dies in mid-transaction leaves nothing here, and the rows of that transaction are handed out again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

from django.db.models import F

from django_claude_batches import job_registry
from django_claude_batches.db.leases import DatabaseNow, is_due
from django_claude_batches.error_text import format_error
from django_claude_batches.models import DeliveryChunk, JobRun
from django_claude_batches.sanitize import get_logger
from django_claude_batches.services.backoff import backoff
from django_claude_batches.services.connection import require_no_transaction
from django_claude_batches.services.delivery.handlers import TRANSIENT_DATABASE_ERRORS
from django_claude_batches.services.delivery.transaction import DeliveryTransaction, undelivered_requests

logger = get_logger(__name__)

TICK_CHUNKS = 1000
"""Chunks that one tick hands out; the rest stays due for the next."""

MAX_TASK_SECONDS = 20 * 60.0
"""Seconds after which a chunk is left to the next process, so that no task comes to its time limit."""

ROW_BY_ROW_FROM_TRY = 3
"""The try from which each row has a transaction of its own: then it shows which of them is the cause."""

MAX_TRIES = 5
"""Of a chunk in a row that came to nothing: the database failed, or the process died. Then a person has to look."""


def dispatch_due_deliveries(dispatch: Callable[[int], object], *, rest: timedelta) -> int:
    """`dispatch` the primary key of each chunk that is due, and give their number."""
    pks = DeliveryChunk.objects.dispatch_due(TICK_CHUNKS, rest)
    for pk in pks:
        dispatch(pk)
    return len(pks)


def deliver_if_due(pk: int) -> None:
    """Hand a chunk's results to its job, if its time has come. For tasks: a repeat does nothing."""
    require_no_transaction("deliver_if_due()")
    deliver(pk, only_due=True)


def deliver(pk: int, *, only_due: bool = False) -> None:
    """Hand a chunk's results to its job, under its lease; if its run is paused or another process has it: nothing."""
    rows = DeliveryChunk.objects.primary()
    if not rows.unpaused().filter(pk=pk).exists():
        return
    # By its own columns only: a condition on the run is a second look at the table, which two processes could pass.
    undone = rows.undone()
    token = (undone.filter(is_due()) if only_due else undone).acquire(pk, dispatched_at=None, tries=F("tries") + 1)
    if token is None:
        return
    try:
        _deliver(rows.select_related("batch__run").get(pk=pk), token)
    finally:
        rows.release(pk, token)
    _wake_run(pk)


def _deliver(chunk: DeliveryChunk, token: str) -> None:
    job = job_registry.find(chunk.batch.kind)
    if job is None:
        _stop_chunk(chunk, token, _unknown_job(chunk.batch.kind))
    elif chunk.tries > MAX_TRIES:
        _stop_chunk(chunk, token, _too_many_tries(chunk))
    else:
        try:
            _deliver_rows(chunk, token, job)
        except Exception as error:
            chunk.reschedule(backoff(chunk.tries - 1), token=token, error=format_error(error))
            raise


def _deliver_rows(chunk: DeliveryChunk, token: str, job: job_registry.Job) -> None:
    """Hand out piece after piece; from what fails otherwise than in passing, row after row, to find which it is."""
    alone = chunk.tries >= ROW_BY_ROW_FROM_TRY
    stop_at = time.monotonic() + MAX_TASK_SECONDS
    more = True
    while more and time.monotonic() < stop_at:
        try:
            more = DeliveryTransaction(chunk.pk, token, job, alone=alone).deliver()
        except Exception as error:
            if alone:
                more = DeliveryTransaction(chunk.pk, token, job, alone=True).record_failure(error)
            elif isinstance(error, TRANSIENT_DATABASE_ERRORS):
                raise
            else:
                logger.warning("Delivery %s: %s: its rows go one by one now.", chunk.pk, error)
                alone = True


def _stop_chunk(chunk: DeliveryChunk, token: str, why: str) -> None:
    """Have a person look: at the run, which is paused, or at the delivery where there is no run that goes on."""
    logger.error("Batch %s: %s", chunk.batch_id, why)
    run = chunk.batch.run
    if run is not None and run.is_active:
        run.pause(why)
        chunk.record(token, last_error=why, tries=0, next_action_at=DatabaseNow())
    else:
        chunk.reschedule(None, token=token, error=why)


def _unknown_job(name: str) -> str:
    return (
        f"{job_registry.unknown_job_message(name)} So its results wait. Restore its code, or give the "
        f"job that took its place "
        f'`name = "{name}"`; restart the workers, and resume the run.'
    )


def _too_many_tries(chunk: DeliveryChunk) -> str:
    request = undelivered_requests(chunk, using=DeliveryChunk.objects.primary().db).order_by("position").first()
    where = "at its end" if request is None else f"at request {request} (position {request.position})"
    return (
        f"{MAX_TRIES} processes in a row came to nothing {where}: a handler may have killed them. Fix it, and resume "
        f"the run. {chunk.last_error}"
    ).rstrip()


def _wake_run(pk: int) -> None:
    """Have the run look at the batch, if this was its last chunk. After the commit: the last one sees all others."""
    rows = DeliveryChunk.objects.primary()
    for batch, run in rows.filter(pk=pk, batch__run__isnull=False).values_list("batch", "batch__run"):
        if not rows.undone().filter(batch=batch).exists():
            runs = JobRun.objects.using(rows.db).filter(pk=run, next_action_at__isnull=False)
            runs.update(next_action_at=DatabaseNow())
