"""Pause, resume, cancel and retry runs. No HTTP: a worker does the work."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from django_claude_batches import job_registry
from django_claude_batches.exceptions import ClaudeBatchesError, InvalidTransition
from django_claude_batches.models import (
    BatchRequest,
    DeliveryChunk,
    DeliveryMode,
    FailedDelivery,
    JobRun,
    MessageBatch,
    RunState,
    State,
)
from django_claude_batches.models.run import ACTIVE, WORKING
from django_claude_batches.services.backoff import NO_DELAY
from django_claude_batches.services.delivery.retry_rules import requested_change
from django_claude_batches.services.job_calls import get_job
from django_claude_batches.services.polling.cancel import cancel
from django_claude_batches.services.runs.start import reserve_job_name

# The states of a run whose failed rows can be retried.
RETRYABLE = (RunState.RUNNING, RunState.FINISHED)


def pause_run(run: JobRun, *, by: Any = None) -> JobRun:
    """Stop drafting, sending and delivering; batches at Anthropic continue. A repeat does nothing.

    Raise InvalidTransition for a run that is over.
    """
    who = f" by {by}" if by is not None else ""
    with transaction.atomic(using=JobRun.objects.primary().db):
        if run.pause(f"Paused{who}."):
            for batch in _batches_of(run).filter(state=State.QUEUED):
                if batch.move(
                    State.DRAFT, allowed={State.QUEUED}, queued_at=None, last_error="", submitted_by_run_at=None
                ):
                    batch.log_event("taken_back", by=by)
        elif not run.is_paused:
            raise run.forbidden("pause", "it is over.")
    return run


def resume_run(run: JobRun, *, skip_unaskable: bool = False) -> JobRun:
    """Continue a paused run, and deliveries that are stuck: these also of a run that is over.

    With `skip_unaskable`, rows that cannot be asked are left out for the rest of the run, and counted.

    A repeat does nothing. Raise InvalidTransition for a run that is over and has no open delivery.
    """
    changes: dict[str, Any] = {"paused_at": None, "pause_reason": "", "failures": 0, "last_error": ""}
    changes |= {"skip_unaskable": True} if skip_unaskable else {}
    is_active = run.record_intent(ACTIVE, **changes)
    if not DeliveryChunk.objects.primary().undone().filter(batch__run=run).retry_now() and not is_active:
        raise run.forbidden("resume", "it is over, and no delivery of it is left.")
    return run


def cancel_run(run: JobRun, *, by: Any = None) -> JobRun:
    """Send no more batches and cancel those at Anthropic; results that arrive are kept, billed and delivered.

    Drafts stay, and can be deleted. A repeat does nothing. Raise InvalidTransition for a run that is finished.
    """
    with transaction.atomic(using=JobRun.objects.primary().db):
        if not run.move(RunState.CANCELING, allowed=WORKING, due=NO_DELAY, paused_at=None, pause_reason=""):
            if run.state in {RunState.CANCELING, RunState.CANCELED}:
                return run
            raise run.forbidden("cancel", "it is finished.")
        _batches_of(run).filter(is_filling=True).update(is_filling=False)
        for batch in _batches_of(run).in_flight():
            with suppress(InvalidTransition):  # it may have ended
                cancel(batch, by=by)
    return run


def _batches_of(run: JobRun) -> Any:
    return MessageBatch.objects.primary().filter(run=run).order_by("pk")


def retry_run(run: JobRun, *, outcomes: Iterable[str] = ()) -> int:
    """Retry the rows that failed for good, with these outcomes or with any; return their number.

    A worker drafts them. They no longer count as failed: a repeat finds none. A finished run continues, and
    `on_finished` is called again at its end. Raise ClaudeBatchesError if there are none, InvalidTransition for a run
    that was canceled or is being drafted, whose request bodies were purged, or whose results are being redelivered, and
    AlreadyRunning for a finished run while another run of the job is active.
    """
    using = JobRun.objects.primary().db
    job = get_job(run.job)
    wanted = set(outcomes)
    with transaction.atomic(using=using):
        if not run.change(Q(state__in=RETRYABLE), job=run.job):  # locks the row
            raise run.forbidden("retry", "only a run that is drafted, and was not canceled, can be tried again.")
        again = DeliveryChunk.objects.using(using).undone().filter(batch=OuterRef("pk"), mode=DeliveryMode.REDELIVER)
        delivered = _batches_of(run).filter(deliveries__isnull=False).distinct().order_by("pk")
        delivered = delivered.annotate(is_being_redelivered=Exists(again))
        total = sum(_mark_for_retry(batch, wanted, using=using) for batch in delivered)
        if not total:
            raise ClaudeBatchesError(f"Run {run} has no row that failed{' so' if wanted else ''}: nothing to retry.")
        _reopen(run, job, using=using)
    return total


def _reopen(run: JobRun, job: job_registry.Job, *, using: str) -> None:
    """Continue the run. The job's next run, which may have the same rows, must not be active."""
    again: dict[str, Any] = {"finished_at": None, "failures": 0, "last_error": ""}
    if run.state == RunState.FINISHED and not job.allow_overlap:
        reserve_job_name(run, using=using, **again)
    else:
        run.move(RunState.RUNNING, allowed=RETRYABLE, due=NO_DELAY, **again)


def _mark_for_retry(batch: Any, outcomes: set[str], *, using: str) -> int:
    """Mark failed rows for retry, of chunks that are done: the others belong to their worker. Return their number."""
    marked = 0
    for chunk in DeliveryChunk.objects.using(using).locked_failures(batch.pk):
        chosen = [failed for failed in chunk.failed if not outcomes or failed[1] in outcomes]
        named = BatchRequest.objects.using(using).filter(batch=batch, position__in=[failed[0] for failed in chosen])
        erased = set(named.filter(erased_at__isnull=False).values_list("position", flat=True))
        chosen = [failed for failed in chosen if failed[0] not in erased]
        if chosen:
            chunk.mark_for_retry({position: requested_change(outcome) for position, outcome in chosen})
            positions = [position for position, _outcome in chosen]
            FailedDelivery.objects.using(using).filter(batch=batch, position__in=positions).delete()
            marked += len(chosen)
    if marked and batch.is_being_redelivered:
        again = "some may be taken without being asked again. Retry what is left when that is done; if it is stuck, "
        again += "resume the run."
        raise InvalidTransition(f"Rows of batch {batch} are being redelivered: {again}")
    if marked and batch.request_purge_note:
        gone = f"its request bodies are gone. {batch.request_purge_note}"
        raise InvalidTransition(f"Rows of batch {batch} cannot be asked again: {gone}")
    return marked
