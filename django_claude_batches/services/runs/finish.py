"""Finish a run when all its batches are delivered: call `on_finished`."""

from __future__ import annotations

from typing import Any

from django.db import models, transaction
from django.db.models import Q

from django_claude_batches import job_registry, sanitize
from django_claude_batches.db.leases import DatabaseNow
from django_claude_batches.error_text import format_with_traceback
from django_claude_batches.models import DeliveryChunk, JobRun, RunState
from django_claude_batches.models.batch_state import EDITABLE
from django_claude_batches.printable import get_logger
from django_claude_batches.services.announcements import RECEIVERS_LEASE
from django_claude_batches.services.job_calls import TRANSIENT_DATABASE_ERRORS, call_handler

logger = get_logger(__name__)

# Attempts to call `on_finished` while it raises transient database errors.
MAX_ON_FINISHED_TRIES = 5


def batches_to_follow_up(run: JobRun) -> models.QuerySet[Any]:
    """Return the batches, by primary key, of which rows are to be retried: automatically, or by `retry_run`."""
    return DeliveryChunk.objects.primary().to_follow_up().filter(batch__run=run).order_by().values("batch")


def _is_unfinished(run: JobRun) -> bool:
    """Return whether a batch or a delivery is open. Drafts of a run that is being canceled are not sent."""
    open_ones = run.batches.using(JobRun.objects.primary().db).filter(delivered_at__isnull=True)
    if run.state == RunState.CANCELING:
        open_ones = open_ones.exclude(state__in=EDITABLE)
    deliveries = DeliveryChunk.objects.primary().undone().filter(batch__run=run)
    return open_ones.exists() or deliveries.exists() or batches_to_follow_up(run).exists()


def finish(run: JobRun, token: str, job: job_registry.Job) -> bool:
    """End the run and call `on_finished` in one transaction; if that raises, store the error and undo its writes."""
    rows = JobRun.objects.primary()
    to = RunState.CANCELED if run.state == RunState.CANCELING else RunState.FINISHED
    # Also renewed before the transaction, in which `on_finished` may take long: others see only committed renewals.
    if _is_unfinished(run) or not rows.renew(run.pk, token, RECEIVERS_LEASE):
        return False
    over: dict[str, Any] = {"finished_at": DatabaseNow(), "exclusive": None}
    with transaction.atomic(using=rows.db, durable=True):
        # The row lock serializes this with `retry_run`.
        if not rows.renew(run.pk, token, RECEIVERS_LEASE) or _is_unfinished(run):
            return False
        if run.move(to, allowed=[run.state], where=Q(paused_at__isnull=True), token=token, **over):
            run.last_error = _call_on_finished(run, job, using=rows.db)
            rows.filter(pk=run.pk).update(last_error=run.last_error)
    return False


def _call_on_finished(run: JobRun, job: job_registry.Job, *, using: str) -> str:
    error: Exception | None
    try:
        error = call_handler(job, "on_finished", run, using=using)
    except TRANSIENT_DATABASE_ERRORS as passing:
        if run.failures < MAX_ON_FINISHED_TRIES:
            raise
        error = passing
    if error is None:
        return ""
    logger.error("Run %s: on_finished raised.", run.pk, exc_info=error)
    return f"on_finished raised {sanitize.text(format_with_traceback(error))}"
