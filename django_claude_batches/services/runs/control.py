"""What people want of a run. No HTTP: a worker does it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.db.models import Exists, F, Max, Min, OuterRef, Q

from django_claude_batches import job_registry
from django_claude_batches.db.leases import DatabaseNow
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
from django_claude_batches.models.delivery import REDELIVERY_MODES
from django_claude_batches.models.run import ACTIVE, WORKING
from django_claude_batches.services.delivery.evaluation import requested_change
from django_claude_batches.services.polling.cancel import cancel
from django_claude_batches.services.runs.start import get_job, reserve_job_name


def pause_run(run: JobRun, *, by: Any = None) -> JobRun:
    """Stop drafting, sending and delivering; what runs at Anthropic goes on. A repeat does nothing.

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
    """Go on where it was, with deliveries that nobody tries again too: also of a run that is over.

    With `skip_unaskable`, rows that cannot be asked are left out for the rest of the run, and counted.

    A repeat does nothing; raise InvalidTransition for a run that is over and has none.
    """
    changes: dict[str, Any] = {"paused_at": None, "pause_reason": "", "failures": 0, "last_error": ""}
    changes |= {"skip_unaskable": True} if skip_unaskable else {}
    is_active = run.change(ACTIVE, next_action_at=DatabaseNow(), **changes)
    if not DeliveryChunk.objects.primary().undone().filter(batch__run=run).retry_now() and not is_active:
        raise run.forbidden("resume", "it is over, and no delivery of it is left.")
    return run


def cancel_run(run: JobRun, *, by: Any = None) -> JobRun:
    """Send no more of it and cancel what is at Anthropic; what comes all the same is kept, billed and delivered.

    Drafts stay, and can be deleted. A repeat does nothing; raise InvalidTransition for a run that is finished.
    """
    with transaction.atomic(using=JobRun.objects.primary().db):
        over: dict[str, Any] = {
            "state": RunState.CANCELING,
            "paused_at": None,
            "pause_reason": "",
            "next_action_at": DatabaseNow(),
        }
        if not run.change(WORKING, **over):
            if run.state in {RunState.CANCELING, RunState.CANCELED}:
                return run
            raise run.forbidden("cancel", "it is finished.")
        _batches_of(run).filter(is_filling=True).update(is_filling=False)
        for batch in _batches_of(run).in_flight():
            _cancel_if_possible(batch, by)
    return run


def _batches_of(run: JobRun) -> Any:
    return MessageBatch.objects.primary().filter(run=run).order_by("pk")


def _cancel_if_possible(batch: MessageBatch, by: Any) -> bool:
    """Cancel a batch, if there is anything to cancel by now."""
    try:
        cancel(batch, by=by)
    except InvalidTransition:
        return False
    return True


def retry_run(run: JobRun, *, outcomes: Iterable[str] = ()) -> int:
    """Have the rows asked again that failed for good, with these outcomes or with any; give how many they are.

    A worker drafts them. They count as failed no more: a repeat finds none. A run that is finished goes on, and
    `on_finished` is called again at its end. Raise ClaudeBatchesError where none is there, InvalidTransition for a run
    that was canceled or is being drafted, whose request bodies were purged, or whose results are being handed out once
    more, and AlreadyRunning for one that is finished while the job runs anew.
    """
    using = JobRun.objects.primary().db
    job = get_job(run.job)
    wanted = set(outcomes)
    with transaction.atomic(using=using):
        if not run.change([RunState.RUNNING, RunState.FINISHED], job=run.job):  # locks it
            raise run.forbidden("retry", "only a run that is drafted, and was not canceled, can be tried again.")
        again = DeliveryChunk.objects.using(using).undone().filter(batch=OuterRef("pk"), mode=DeliveryMode.REDELIVER)
        delivered = _batches_of(run).filter(deliveries__isnull=False).distinct().order_by("pk")
        delivered = delivered.annotate(is_handed_out_again=Exists(again))
        total = sum(_mark_for_retry(batch, wanted, using=using) for batch in delivered)
        if not total:
            raise ClaudeBatchesError(f"Run {run} has no row that failed{' so' if wanted else ''}: nothing to retry.")
        _reopen(run, job, using=using)
    return total


def _reopen(run: JobRun, job: job_registry.Job, *, using: str) -> None:
    """Have the run go on, which the next one may have begun without: it may have the same rows."""
    again: dict[str, Any] = {
        "state": RunState.RUNNING,
        "finished_at": None,
        "next_action_at": DatabaseNow(),
        "failures": 0,
        "last_error": "",
    }
    if run.state == RunState.FINISHED and not job.allow_overlap:
        reserve_job_name(run, using=using, **again)
    else:
        run.change([RunState.RUNNING, RunState.FINISHED], **again)


def _mark_for_retry(batch: Any, outcomes: set[str], *, using: str) -> int:
    """Mark what failed so to be asked again, of the chunks that are done: what is not done is its process's."""
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
    if marked and batch.is_handed_out_again:
        again = "some may be taken without being asked again. Retry what is left when that is done; if it is stuck, "
        again += "resume the run."
        raise InvalidTransition(f"Rows of batch {batch} are being redelivered: {again}")
    if marked and batch.request_purge_note:
        gone = f"its request bodies are gone. {batch.request_purge_note}"
        raise InvalidTransition(f"Rows of batch {batch} cannot be asked again: {gone}")
    return marked


def redeliver_failed(of: JobRun | MessageBatch) -> int:
    """Call the handlers again for the rows of a run, or of a batch, whose handler raised; give how many they are.

    Each row is handed out once by it, however often it is wished.
    """
    using = JobRun.objects.primary().db
    parked = FailedDelivery.objects.using(using)
    parked = parked.filter(batch__run=of) if isinstance(of, JobRun) else parked.filter(batch=of)
    groups = parked.order_by("batch").values("batch").annotate(first=Min("position"), last=Max("position"))
    with transaction.atomic(using=using):
        count = parked.count()
        for group in groups:
            _deliver_again(group, using=using)
    return count


def _deliver_again(group: Any, *, using: str) -> None:
    # This locks it: of two clicks one cuts.
    MessageBatch.objects.using(using).filter(pk=group["batch"]).update(kind=F("kind"))
    waiting = DeliveryChunk.objects.using(using).undone().filter(batch=group["batch"])
    # All answers again are these too.
    if waiting.filter(mode__in=REDELIVERY_MODES).retry_now():
        return
    DeliveryChunk.objects.create_chunks_between(group["batch"], group["first"], group["last"], DeliveryMode.FAILED)


def redeliver(batch: MessageBatch, *, by: Any = None) -> MessageBatch:
    """Hand all usable answers of a batch to its job once more, for code that is new; failures are not handed again.

    Also of a batch that no run made, if its kind is a job's name. A delivery that got stuck goes on instead. Raise
    InvalidTransition for a batch that is not complete, that is being delivered, that was made elsewhere, or whose
    answers were purged; UnknownJob where nobody handles its kind.
    """
    get_job(batch.kind)
    using = MessageBatch.objects.primary().db
    with transaction.atomic(using=using):
        # Locks the run, as `retry_run` does: of the two, the later one sees what the other did.
        JobRun.objects.using(using).filter(pk=batch.run_id or 0).update(job=F("job"))
        complete = Q(state=State.INGESTED, result_purge_began_at__isnull=True, body_bytes__gt=0)
        locked = MessageBatch.objects.using(using).filter(complete, pk=batch.pk)
        if not locked.update(kind=F("kind")):
            batch.refresh_from_db(using=using)
            raise batch.forbidden("deliver", {State.INGESTED}, _undeliverable(batch))
        undone = DeliveryChunk.objects.using(using).undone().filter(batch=batch)
        if not undone.stuck().retry_now():
            if undone.exists():
                raise batch.forbidden("deliver", {State.INGESTED}, "it is being delivered.")
            DeliveryChunk.objects.create_chunks(batch, DeliveryMode.REDELIVER)
        batch.log_event("redelivered", by=by)
    return batch


def _undeliverable(batch: MessageBatch) -> str:
    if batch.result_purge_note:
        return f"its answers are gone. {batch.result_purge_note}"
    return "" if batch.body_bytes else "it was made elsewhere, so what it was asked about is not known here."
