"""Do what is due for a run, under its lease: draft its rows, follow up delivered batches, and finish it.

`engine` advances its batches and `delivery.deliver` delivers; `advance` does all of it in one process.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

from django.db import transaction
from django.db.models import Q

from django_claude_batches import job_registry
from django_claude_batches.error_text import format_error
from django_claude_batches.models import DeliveryChunk, JobRun, MessageBatch, RunState, State
from django_claude_batches.models.batch_state import FINAL
from django_claude_batches.sanitize import get_logger
from django_claude_batches.services.backoff import backoff
from django_claude_batches.services.connection import require_no_transaction
from django_claude_batches.services.runs.draft import draft
from django_claude_batches.services.runs.finish import batches_to_follow_up, finish
from django_claude_batches.services.runs.follow_up import follow_up

logger = get_logger(__name__)

# Delay before a run is due again, unless something makes it due earlier.
RECHECK_INTERVAL = timedelta(minutes=2)

# Maximum time for drafting in one task, so that the worker serves others; the run stays due.
MAX_DRIVE_SECONDS = 60.0


def dispatch_due_runs(dispatch: Callable[[int], object], *, rest: timedelta) -> int:
    """Call `dispatch` with the primary key of each run that is due; return their number."""
    return len(JobRun.objects.dispatch_due(dispatch, rest))


def drive_if_due(pk: int) -> None:
    """Do what is due for a run, if it is due. For tasks: a repeat does nothing. Call it outside transactions."""
    require_no_transaction("drive_if_due()")
    drive(pk, only_due=True)


def drive(pk: int, *, only_due: bool = False) -> None:
    """Do what is due for a run, under its lease. No HTTP."""
    rows = JobRun.objects.primary()
    with (rows.due() if only_due else rows.moving()).lease(pk, dispatched_at=None) as token:
        if token is None:
            return
        run = rows.get(pk=pk)
        give_up_at = time.monotonic() + MAX_DRIVE_SECONDS
        try:
            while _step(run, token) and time.monotonic() < give_up_at:
                run.refresh_from_db(using=rows.db)
        except Exception as error:
            run.reschedule(backoff(run.failures), token=token, error=format_error(error))
            raise


def _step(run: JobRun, token: str) -> bool:
    """Do the next step; return whether another one may be due at once."""
    if run.is_paused or not run.is_active:
        return False
    job = job_registry.find(run.job)
    if job is None:
        again = "Restore its code, restart the workers, and resume the run."
        run.pause(f"{job_registry.unknown_job_message(run.job)} {again}", token=token)
        return False
    if run.state == RunState.DRAFTING:
        return draft(run, token, job)
    return _follow_up_and_finish(run, token, job)


def _follow_up_and_finish(run: JobRun, token: str, job: job_registry.Job) -> bool:
    """Deliver lost batches as missing, follow up delivered ones, and finish the run if all is done. Return False."""
    rows = JobRun.objects.primary()
    # Rescheduled first: if the run becomes due during the check, it is checked again.
    if not run.reschedule(RECHECK_INTERVAL, token=token):
        return False
    open_ones = run.batches.using(rows.db).filter(delivered_at__isnull=True)
    # Not for abandoned batches: they may still be found. The run does not wait for them.
    for batch in open_ones.filter(state=State.LOST, deliveries__isnull=True):
        if not _deliver_as_missing(run, batch, token):
            return False
    being_delivered = DeliveryChunk.objects.using(rows.db).undone().filter(batch__run=run).values("batch")
    to_follow_up = Q(delivered_at__isnull=True) | Q(pk__in=batches_to_follow_up(run))
    for batch in run.batches.using(rows.db).filter(to_follow_up, state__in=FINAL).exclude(pk__in=being_delivered):
        if not follow_up(run, batch, token, job):
            return False
    return finish(run, token, job)


def _deliver_as_missing(run: JobRun, batch: MessageBatch, token: str) -> bool:
    """Make the chunks that deliver a lost batch's requests as missing; return False if the lease is lost."""
    rows = JobRun.objects.primary()
    with transaction.atomic(using=rows.db, durable=True):
        if not rows.renew(run.pk, token):
            return False
        DeliveryChunk.objects.create_chunks(batch)
    return True
