"""Draft a job's rows and deliver its results, with the package and by hand."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import django

django.setup()

from django.db import connection, transaction  # noqa: E402
from django.utils import timezone  # noqa: E402

from django_claude_batches import job_registry, services  # noqa: E402
from django_claude_batches.models import (  # noqa: E402
    BatchRequest,
    BatchResult,
    DeliveryChunk,
    JobRun,
    MessageBatch,
    RunState,
    State,
    bulk,
)
from django_claude_batches.models import bulk_rows as tables  # noqa: E402
from django_claude_batches.services.delivery.deliver import deliver  # noqa: E402
from django_claude_batches.services.runs.drive import drive  # noqa: E402
from tests.benchmarks.steps import tagging  # noqa: E402
from tests.benchmarks.steps.clock import Clock  # noqa: E402
from tests.benchmarks.steps.ours import go_when_told  # noqa: E402
from tests.benchmarks.steps.tables import empty, reset  # noqa: E402
from tests.harness.library.models import Review  # noqa: E402

PIECE = 1000


def draft(job: str) -> None:
    """Advance a run until all its rows are requests."""
    empty(*OURS, cascade=True)
    run = services.start_job(job)
    clock = Clock()
    while run.state == RunState.DRAFTING:
        drive(run.pk)
        run.refresh_from_db()
    clock.stop()
    clock.report(run.row_count)


def draft_by_hand(job: str) -> None:
    """Draft the same rows with `create_draft`, at most those of one batch."""
    empty(*OURS, cascade=True)
    ask = tagging.TagReviews().get_params
    clock = Clock()
    batch = MessageBatch.objects.create_draft(
        {"custom_id": str(each.pk), "target": each, "params": ask(each)}
        for each in Review.objects.filter(tags="").iterator()
    )
    clock.stop()
    clock.report(batch.request_count)


def store() -> None:
    """Make each batch complete, with an answer for each request; not timed."""
    for batch in MessageBatch.objects.order_by("pk"):
        requests = batch.requests.order_by("position").values_list("pk", "custom_id")
        for start in range(0, batch.request_count, PIECE):
            found = iter(list(requests.filter(position__range=(start, start + PIECE - 1))))
            with transaction.atomic():
                bulk.insert_results(
                    (tables.result_values(batch.pk, row) for row in tagging.results(found)), using=connection.alias
                )
        now = timezone.now()
        MessageBatch.objects.filter(pk=batch.pk).update(
            state=State.INGESTED,
            is_filling=False,
            anthropic_id=f"msgbatch_{batch.pk}",
            processing_status="ended",
            queued_at=now,
            created_at=now,
            ended_at=now,
            ingested_at=now,
            announced_at=now,
            succeeded_count=batch.request_count,
        )


def begin(job: str) -> None:
    """Reset all deliveries; not timed."""
    empty(DeliveryChunk)
    MessageBatch.objects.update(delivered_at=None, kind=job)
    JobRun.objects.update(job=job)
    Review.objects.exclude(tags="").update(tags="")
    BatchResult.objects.filter(output__isnull=False).update(output=None)
    for batch in MessageBatch.objects.order_by("pk"):
        DeliveryChunk.objects.create_chunks(batch)


def deliver_all(job: str) -> None:
    """Deliver all chunks that no other process has leased; count the rows of this process."""
    clock = Clock()
    for pk in DeliveryChunk.objects.order_by("pk").values_list("pk", flat=True):
        deliver(pk)
    clock.stop()
    clock.report(tagging.handled.total())


def loop(job: str) -> None:
    """Call the handler for each row, a thousand in a transaction, and do nothing else."""
    handle, result = _handler(job)
    clock = Clock()
    last = count = 0
    while True:
        with transaction.atomic():
            found = list(Review.objects.filter(pk__gt=last).order_by("pk")[:PIECE])
            for review in found:
                handle(review, result)
        if not found:
            break
        last, count = found[-1].pk, count + len(found)
    clock.stop()
    clock.report(count)


def _handler(job: str) -> tuple[Callable[[Any, Any], object], BatchResult]:
    result = BatchResult(message={"content": [{"type": "text", "text": tagging.answer("1")}]})
    result.output = {"tags": tagging.TAGS}
    handler = {tagging.PLAIN: tagging.TagReviews, tagging.WITH_SCHEMA: tagging.TagReviewsBySchema}[job]
    return handler().on_result, result


def receive(job: str) -> None:
    """Do the work of a receiver of `results_ingested`: loop over the results with their targets."""
    handle = tagging.TagReviews().on_result
    count = 0
    clock = Clock()
    for batch in MessageBatch.objects.order_by("pk"):
        for result in batch.results.succeeded().with_target().iterator(chunk_size=500):
            if result.target is not None:
                handle(result.target, result)
                count += 1
    clock.stop()
    clock.report(count)


def check_each(count: int) -> None:
    """Raise RuntimeError unless each row has its own answer, which names the row."""
    rows = Review.objects.values_list("pk", "tags").iterator()
    right = sum(tags.removesuffix('"]}').endswith(f"of {pk}") for pk, tags in rows)
    if right != count:
        raise RuntimeError(f"{right} of {count} rows have their tags")


OURS = [JobRun, MessageBatch, BatchRequest, BatchResult, DeliveryChunk]


if __name__ == "__main__":
    timed = {
        "draft": draft,
        "draft-by-hand": draft_by_hand,
        "deliver": deliver_all,
        "loop": loop,
        "receive": receive,
    }
    parser = argparse.ArgumentParser()
    parser.add_argument("step", choices=["fill", "store", "begin", "check", *timed])
    parser.add_argument("--job", default=tagging.PLAIN)
    parser.add_argument("--n", type=int, default=0)
    parser.add_argument("--wait", action="store_true", help="say ready, and begin with the next line of input")
    options = parser.parse_args()
    connection.ensure_connection()
    if options.step == "fill":
        reset()
        empty(Review)
        tagging.fill(options.n)
    elif options.step == "store":
        store()
    elif options.step == "begin":
        begin(options.job)
    elif options.step == "check":
        check_each(options.n)
    else:
        assert job_registry.problems() == []  # loads the packages that check output schemas
        if options.wait:
            go_when_told()
        timed[options.step](options.job)
