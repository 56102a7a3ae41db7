"""Make the chunks in which a batch's results are delivered once more. No HTTP: a worker delivers them."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import F, Max, Min, Q

from django_claude_batches.models import DeliveryChunk, DeliveryMode, FailedDelivery, JobRun, MessageBatch, State
from django_claude_batches.models.delivery import REDELIVERY_MODES
from django_claude_batches.services.job_calls import get_job


def redeliver_failed(of: JobRun | MessageBatch) -> int:
    """Call the handlers again for the rows of a run, or of a batch, whose handler raised; return their number.

    A worker does it, once for each row, even if this is called again before.
    """
    using = JobRun.objects.primary().db
    failed = FailedDelivery.objects.using(using)
    failed = failed.filter(batch__run=of) if isinstance(of, JobRun) else failed.filter(batch=of)
    groups = failed.order_by("batch").values("batch").annotate(first=Min("position"), last=Max("position"))
    with transaction.atomic(using=using):
        count = failed.count()
        for group in groups:
            _redeliver_batch(group, using=using)
    return count


def _redeliver_batch(group: Any, *, using: str) -> None:
    # Lock the batch: of two simultaneous calls, one makes the chunks.
    MessageBatch.objects.using(using).filter(pk=group["batch"]).update(kind=F("kind"))
    waiting = DeliveryChunk.objects.using(using).undone().filter(batch=group["batch"])
    # A redelivery of all answers includes these.
    if waiting.filter(mode__in=REDELIVERY_MODES).retry_now():
        return
    DeliveryChunk.objects.create_chunks_between(group["batch"], group["first"], group["last"], DeliveryMode.FAILED)


def redeliver(batch: MessageBatch, *, by: Any = None) -> MessageBatch:
    """Deliver all usable answers of a batch to its job once more, for new code; failures are not delivered again.

    A worker does it. The batch may also be of no run, if its kind is a job's name. A delivery that is stuck continues
    instead. Raise InvalidTransition for a batch that is not complete, that is being delivered, that was made elsewhere,
    or whose answers were purged, and UnknownJob if its kind is no job's name.
    """
    get_job(batch.kind)
    using = MessageBatch.objects.primary().db
    with transaction.atomic(using=using):
        # The run's row lock serializes this with `retry_run`.
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
