"""After a batch is delivered, draft a new batch of its requests that are retried."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.db import transaction
from django.db.models import F

from django_claude_batches import job_registry
from django_claude_batches.db.keyset import sized_pages
from django_claude_batches.db.leases import DatabaseNow
from django_claude_batches.drafting.request import Prepared
from django_claude_batches.exceptions import InvalidTransition
from django_claude_batches.models import BatchRequest, DeliveryChunk, DeliveryMode, JobRun, MessageBatch
from django_claude_batches.models.run import WORKING
from django_claude_batches.services.delivery.retry_rules import RetryChange
from django_claude_batches.services.runs.batch_builder import BatchBuilder
from django_claude_batches.services.runs.draft import max_batch_requests

CORRECTION = (
    "Your answer cannot be used: {problem}\n\nAnswer the same again, so that it fits the schema. Answer with nothing "
    "but the JSON."
)


def follow_up(run: JobRun, batch: MessageBatch, token: str, job: job_registry.Job) -> bool:
    """Draft the retries of a delivered batch, and mark it as delivered; return False if the lease is lost.

    Each chunk's retries are one transaction, since pausing the run waits for it, and on SQLite every write. The last
    transaction also closes the new batches: nothing would return to a batch that was marked as delivered before. If the
    run is being canceled, the rows are delivered as failed instead.
    """
    using = JobRun.objects.primary().db
    asked, more = 0, True
    while more:
        with transaction.atomic(using=using, durable=True):
            if not JobRun.objects.using(using).renew(run.pk, token):
                return False
            run.refresh_from_db(using=using)  # it is locked now, and may have been canceled since it was read
            chunks = DeliveryChunk.objects.using(using).to_follow_up().filter(batch=batch).order_by("pk")
            if run.state in WORKING and (chunk := chunks.first()) is not None:
                put = _draft_retries(_builder(run, batch), batch, chunk.to_retry, job)
                erased = len(chunk.to_retry) - put
                chunks.filter(pk=chunk.pk).update(to_retry=[], gone_count=F("gone_count") + erased)
                asked += put
                if chunks.exists():
                    continue
            more = False
            if run.state in WORKING or not _deliver_as_failed(batch, list(chunks)):
                _mark_delivered(run, batch, asked)
    return True


def _deliver_as_failed(batch: MessageBatch, chunks: list[DeliveryChunk]) -> bool:
    """Make chunks that deliver the rows marked for retry as failed; return whether there are any."""
    for chunk in chunks:
        positions = sorted(position for position, _change in chunk.to_retry)
        DeliveryChunk.objects.create_chunk_of(batch, positions, DeliveryMode.NO_RETRY)
    DeliveryChunk.objects.primary().filter(pk__in=[chunk.pk for chunk in chunks]).update(to_retry=[])
    return bool(chunks)


def _mark_delivered(run: JobRun, batch: MessageBatch, asked: int) -> None:
    """Close the batches of its retries (this process drafted `asked` of them), and reset the run's failures."""
    _builder(run, batch).close()
    if asked:
        batch.log_event("retried", f"{asked:,} requests, by run {run}")
    MessageBatch.objects.primary().filter(pk=batch.pk, delivered_at__isnull=True).update(delivered_at=DatabaseNow())
    JobRun.objects.primary().filter(pk=run.pk).update(failures=0, last_error="")


def _builder(run: JobRun, batch: MessageBatch) -> BatchBuilder:
    using = JobRun.objects.primary().db
    return BatchBuilder(run, attempt=batch.run_attempt + 1, parent=batch, most=max_batch_requests(), using=using)


def _draft_retries(builder: BatchBuilder, batch: MessageBatch, marks: list[list[Any]], job: job_registry.Job) -> int:
    """Draft the requests that are marked for retry, except erased ones; return their number."""
    put = 0
    for request in _changed_requests(batch, dict(marks), job):
        builder.add(request, tuple(batch.betas))
        put += 1
    builder.store()
    return put


def _changed_requests(batch: MessageBatch, changes: Mapping[int, str], job: job_registry.Job) -> Iterator[Prepared]:
    rows = BatchRequest.objects.primary().filter(
        batch=batch, position__range=(min(changes), max(changes)), position__in=list(changes), erased_at__isnull=True
    )
    for page in sized_pages(rows, "position", F("params_bytes")):
        for request in page.select_related("result"):
            if request.is_purged:
                raise InvalidTransition(f"Request {request} of batch {batch} cannot be asked again: it was purged.")
            request.params = _retry_params(request, changes[request.position], job)
            yield request.prepared


def _retry_params(request: BatchRequest, change: str, job: job_registry.Job) -> Mapping[str, Any]:
    params = request.params
    if change == RetryChange.MORE_TOKENS:
        return {**params, "max_tokens": job.more_tokens(params["max_tokens"]) or params["max_tokens"]}
    if change == RetryChange.CORRECTION and request.result.output_error:  # none if it was evaluated again and fits
        return {**params, "messages": [*params["messages"], *_correction(request)]}
    return params


def _correction(request: BatchRequest) -> Iterator[dict[str, str]]:
    """Yield the answer that does not fit, unless it is empty, and what is wrong with it, as messages."""
    if request.result.text.strip():
        yield {"role": "assistant", "content": request.result.text.rstrip()}
    yield {"role": "user", "content": CORRECTION.format(problem=request.result.output_error)}
