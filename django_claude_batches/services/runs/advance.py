"""Do everything that is due for a run in this process, without workers: drive it, advance its batches, and deliver."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django_claude_batches.models import DeliveryChunk, JobRun, MessageBatch, State
from django_claude_batches.models.batch_state import RUNNING
from django_claude_batches.services.connection import require_no_transaction
from django_claude_batches.services.delivery.deliver import deliver, deliver_if_due
from django_claude_batches.services.engine import advance, advance_if_due
from django_claude_batches.services.runs.drive import drive, drive_if_due
from django_claude_batches.services.runs.throttle import submit_pending


def advance_run(run: JobRun) -> JobRun:
    """Do now, in this process, everything that is due for the run: draft, send, poll, fetch, deliver, retry.

    It can spend money, and it sends HTTP: call it outside transactions. It does not wait for batches at Anthropic.
    """
    require_no_transaction("advance_run()")
    seen = None
    while (now := _progress_of(run)) != seen:
        seen = now
        drive(run.pk)
        submit_pending()
        for batch in _live_batches(run):
            advance(batch)
        for pk in _chunks(run).undone().values_list("pk", flat=True):
            deliver(pk)
    run.refresh_from_db(using=JobRun.objects.primary().db)
    return run


def steps(run: JobRun) -> Iterator[None]:
    """Do what is due for the run in this process; yield after each step, so that the caller may stop.

    Batches at Anthropic are polled, which is free. Everything else waits until it is due, or a waiting caller would use
    up all retries.
    """
    require_no_transaction("steps()")
    drive_if_due(run.pk)
    yield
    submit_pending()
    yield
    for batch in _live_batches(run):
        if batch.state in RUNNING:
            advance(batch)
        else:
            advance_if_due(batch.pk)
        yield
    for pk in _chunks(run).due().order_by("pk").values_list("pk", flat=True):
        deliver_if_due(pk)
        yield


def _batches(run: JobRun) -> Any:
    return MessageBatch.objects.primary().filter(run=run)


def _live_batches(run: JobRun) -> Any:
    """Match the run's batches that are in flight, or complete and not announced."""
    return _batches(run).in_flight() | _batches(run).filter(state=State.INGESTED, announced_at__isnull=True)


def _chunks(run: JobRun) -> Any:
    return DeliveryChunk.objects.primary().filter(batch__run=run)


def _progress_of(run: JobRun) -> list[Any]:
    """Return the progress of the run, its batches and its chunks: while that changes, there may be more to do."""
    return [
        *JobRun.objects.primary().filter(pk=run.pk).values_list("state", "row_count", "left_out_count", "paused_at"),
        *_batches(run).order_by("pk").values_list("pk", "state", "delivered_at", "announced_at"),
        *_chunks(run).order_by("pk").values_list("pk", "position", "done_at"),
    ]
