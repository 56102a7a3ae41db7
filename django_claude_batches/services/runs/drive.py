"""Doing what is due for a run: drafting its rows, seeing to its batches, and finishing it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import models, transaction
from django.db.models import Q

from django_claude_batches import job_registry, sanitize
from django_claude_batches.db.leases import DatabaseNow, now_plus
from django_claude_batches.error_text import format_error, format_with_traceback
from django_claude_batches.models import DeliveryChunk, JobRun, MessageBatch, RunState, State
from django_claude_batches.models.batch_state import EDITABLE, FINAL
from django_claude_batches.models.run import ACTIVE
from django_claude_batches.sanitize import get_logger
from django_claude_batches.services.announcements import RECEIVERS_LEASE
from django_claude_batches.services.backoff import backoff
from django_claude_batches.services.connection import require_no_transaction
from django_claude_batches.services.delivery.handlers import TRANSIENT_DATABASE_ERRORS, call_handler
from django_claude_batches.services.runs.draft import draft
from django_claude_batches.services.runs.follow_up import follow_up

logger = get_logger(__name__)

RECHECK_INTERVAL = timedelta(minutes=2)
"""Between two looks at a run that nothing has woken: whatever came to its batches is seen then."""

MAX_DRIVE_SECONDS = 60.0
"""After which a run that is drafted lets others have the process; it stays due, and the next one goes on."""

MAX_TRIES = 5
"""Of `on_finished`, where the database fails in it: perhaps in passing, until then."""


def dispatch_due_runs(dispatch: Callable[[int], object], *, rest: timedelta) -> int:
    """`dispatch` the primary key of each run that is due, and give their number."""
    pks = JobRun.objects.dispatch_due(rest)
    for pk in pks:
        dispatch(pk)
    return len(pks)


def drive_if_due(pk: int) -> None:
    """Do what is due for a run, if its time has come. For tasks: a repeat does nothing."""
    require_no_transaction("drive_if_due()")
    drive(pk, only_due=True)


def drive(pk: int, *, only_due: bool = False) -> None:
    """Do what is due for a run, under its lease: draft, and after the deliveries what follows. No HTTP."""
    rows = JobRun.objects.primary()
    token = (rows.due() if only_due else rows.moving()).acquire(pk, dispatched_at=None)
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
    finally:
        rows.release(pk, token)


def _step(run: JobRun, token: str) -> bool:
    """Do the next thing; give whether there may be another to do at once."""
    if run.is_paused or not run.is_active:
        return False
    job = job_registry.find(run.job)
    if job is None:
        again = "Restore its code, restart the workers, and resume the run."
        run.pause(f"{job_registry.unknown_job_message(run.job)} {again}", token=token)
        return False
    if run.state == RunState.DRAFTING:
        return draft(run, token, job)
    return _advance_batches(run, token, job)


def _advance_batches(run: JobRun, token: str, job: job_registry.Job) -> bool:
    rows = JobRun.objects.primary()
    # First: what wakes the run while we look has to be seen at the next look.
    if not run.change(ACTIVE, token=token, next_action_at=now_plus(RECHECK_INTERVAL)):
        return False
    open_ones = run.batches.using(rows.db).filter(delivered_at__isnull=True)
    for batch in open_ones.filter(state=State.LOST, deliveries__isnull=True):
        if not _deliver_as_missing(run, batch, token):
            return False
    being_delivered = DeliveryChunk.objects.using(rows.db).undone().filter(batch__run=run).values("batch")
    to_follow_up = Q(delivered_at__isnull=True) | Q(pk__in=_batches_to_follow_up(run))
    for batch in run.batches.using(rows.db).filter(to_follow_up, state__in=FINAL).exclude(pk__in=being_delivered):
        if not follow_up(run, batch, token, job):
            return False
    return _finish(run, token, job)


def _deliver_as_missing(run: JobRun, batch: MessageBatch, token: str) -> bool:
    """What is lost for good has failed; what was given up may still turn up, and only its run goes on without it."""
    rows = JobRun.objects.primary()
    with transaction.atomic(using=rows.db, durable=True):
        if not rows.renew(run.pk, token):
            return False
        DeliveryChunk.objects.create_chunks(batch)
    return True


def _batches_to_follow_up(run: JobRun) -> models.QuerySet[Any]:
    """The batches, by primary key, of which rows are to be asked again: also those that somebody retries later."""
    return DeliveryChunk.objects.primary().to_follow_up().filter(batch__run=run).order_by().values("batch")


def _is_unfinished(run: JobRun) -> bool:
    """Whether a batch or a delivery of it is not through. When it is being canceled, nobody sends its drafts."""
    open_ones = run.batches.using(JobRun.objects.primary().db).filter(delivered_at__isnull=True)
    if run.state == RunState.CANCELING:
        open_ones = open_ones.exclude(state__in=EDITABLE)
    deliveries = DeliveryChunk.objects.primary().undone().filter(batch__run=run)
    return open_ones.exists() or deliveries.exists() or _batches_to_follow_up(run).exists()


def _finish(run: JobRun, token: str, job: job_registry.Job) -> bool:
    """Note that it is over, and tell the job, in one transaction; what `on_finished` raises is kept, and undone."""
    rows = JobRun.objects.primary()
    to = RunState.CANCELED if run.state == RunState.CANCELING else RunState.FINISHED
    # Seen by others before the job works in a transaction, however long: they would wait for the row.
    if _is_unfinished(run) or not rows.renew(run.pk, token, RECEIVERS_LEASE):
        return False
    over: dict[str, Any] = {"state": to, "finished_at": DatabaseNow(), "next_action_at": None, "exclusive": None}
    with transaction.atomic(using=rows.db, durable=True):
        # With the row locked, nobody has rows tried again while we look.
        if not rows.renew(run.pk, token, RECEIVERS_LEASE) or _is_unfinished(run):
            return False
        if run.change(ACTIVE, token=token, where=Q(state=run.state, paused_at__isnull=True), **over):
            run.last_error = _call_on_finished(run, job, using=rows.db)
            rows.filter(pk=run.pk).update(last_error=run.last_error)
    return False


def _call_on_finished(run: JobRun, job: job_registry.Job, *, using: str) -> str:
    error: Exception | None
    try:
        error = call_handler(job, "on_finished", run, using=using)
    except TRANSIENT_DATABASE_ERRORS as passing:
        if run.failures < MAX_TRIES:
            raise
        error = passing
    if error is None:
        return ""
    logger.error("Run %s: on_finished raised.", run.pk, exc_info=error)
    return f"on_finished raised {sanitize.text(format_with_traceback(error))}"
