"""The package's rows are in the database that the router writes them to, which may not be the default one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db.models import F
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.exceptions import AlreadyRunning
from django_claude_batches.export import JsonlExport
from django_claude_batches.models import (
    BatchEvent,
    BatchRequest,
    BatchResult,
    BatchUpload,
    DeliveryChunk,
    FailedDelivery,
    JobRun,
    MessageBatch,
    RunState,
    RunTotals,
    State,
    SubmitAttempt,
)
from django_claude_batches.services.engine import advance_if_due, tick
from django_claude_batches.services.uploads.prepare import prepare
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import draft, item, make_due
from tests.harness.leaks import where
from tests.harness.library.models import Review
from tests.harness.relay import Relay, lose_answer
from tests.harness.selections import slow_but
from tests.harness.shop import BAD, OVERLOADED, effects, job, over, reviews

pytestmark = pytest.mark.django_db(databases=["default", "other"])


class OurTablesElsewhere:
    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return self.db_for_write(model)

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "other" if model._meta.app_label == "django_claude_batches" else None

    def allow_relation(self, obj1: Any, obj2: Any, **hints: Any) -> bool:
        return True


class ReadsLag(OurTablesElsewhere):
    """Reads go to a database without the package's rows, such as a replica that lags."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return "default"


@pytest.fixture(autouse=True)
def _numbered_otherwise(db: None) -> Iterator[None]:
    """Give content types different ids in the two databases, which may be equal by chance."""
    ContentType.objects.clear_cache()
    there = ContentType.objects.using("other")
    there.filter(app_label="library").delete()
    for number, here in enumerate(ContentType.objects.using("default").filter(app_label="library"), 1_000_000):
        there.create(pk=number, app_label=here.app_label, model=here.model)
    yield
    ContentType.objects.clear_cache()


def uploaded() -> BatchUpload:
    return BatchUpload.objects.store([json.dumps(item(0)).encode()], name="requests.jsonl")


@pytest.mark.parametrize("router", [OurTablesElsewhere, ReadsLag])
def test_erasing(settings: Any, router: Any) -> None:
    settings.DATABASE_ROUTERS = [router()]
    sent, other = reviews(2)
    word = "Quetzalcoatl"
    with ClaudeEmulator(seed=1, replies=lambda params, custom_id: word) as claude:
        items = [{**item(number, system=word), "target": row} for number, row in enumerate((sent, other))]
        batch = services.advance(services.submit(MessageBatch.objects.create_draft(items)))
        unsent = MessageBatch.objects.create_draft(items)
        claude.finish()
        services.advance(batch)
        reports = [services.erase(sent), services.erase(Review(pk=other.pk))]
    assert [(report.requests, report.from_drafts, report.is_complete) for report in reports] == [(1, 1, True)] * 2
    assert where(word, using="other") == set()
    assert not MessageBatch.objects.using("other").filter(pk=unsent.pk).exists()


@pytest.mark.parametrize("router", [OurTablesElsewhere, ReadsLag])
def test_a_batch_from_draft_to_deletion(settings: Any, claude: ClaudeEmulator, router: Any) -> None:
    settings.DATABASE_ROUTERS = [router()]
    batch = draft(3)
    assert batch._state.db == "other"
    services.advance(services.submit(batch))
    claude.finish()
    tick(advance_if_due)
    services.advance(batch)
    child = services.retry(batch, outcomes=["missing"]) if batch.missing_count else None
    assert (batch.state, child) == (State.INGESTED, None)
    assert b"".join(JsonlExport(BatchResult.objects.primary())).count(b"\n") == 3
    retention = dict.fromkeys(("REQUEST_BODIES", "RESULT_BODIES", "REMOTE_COPIES"), 60)
    settings.CLAUDE_BATCHES = {"KICK": False, "RETENTION": retention}
    minutes_ago = timezone.now() - timedelta(minutes=2)
    MessageBatch.objects.using("other").filter(pk=batch.pk).update(announced_at=minutes_ago)
    [report] = services.purge()
    assert (report.request_bodies.rows, report.result_bodies.rows, report.remote_copies.batches) == (3, 3, 1)
    services.advance(services.delete_remote(batch))
    assert batch.remote_deleted_at is not None
    with Relay(claude.url) as relay:
        relay.on("POST", "/batches", lose_answer, times=1)
        lost = services.advance(services.submit(draft(2)))
    assert lost.state == State.UNCERTAIN
    claude.finish()
    services.advance(services.adopt(claude.batches[1].id, for_batch=lost))
    assert lost.state == State.INGESTED
    make_due(lost)
    assert BatchResult.objects.using("other").count() == 5
    batch.delete()
    prepare(services.confirm_upload(prepare(uploaded())))
    for model in (MessageBatch, BatchRequest, BatchResult, BatchEvent, SubmitAttempt, BatchUpload):
        assert not model.objects.using("default").exists()
        assert model.objects.using("other").exists()


@pytest.mark.slow
@pytest.mark.parametrize("router", slow_but(1, [OurTablesElsewhere, ReadsLag]))
def test_a_run_of_a_job(settings: Any, router: Any) -> None:
    """The job's rows are in the default database, and the package's rows in the other one."""
    settings.DATABASE_ROUTERS = [router()]
    busy, bad, broken, _fine = (row.pk for row in reviews(4))
    first = {str(busy): OVERLOADED, str(bad): BAD}
    told: list[tuple[int, str]] = []

    def on_result(self: Any, review: Review, result: Any) -> None:
        if review.pk == broken:
            raise LookupError("no such tag")
        Review.objects.filter(pk=review.pk).update(effects=F("effects") + 1)

    tagging = job(
        on_result=on_result,
        on_failure=lambda self, review, result: told.append((review.pk, result.outcome)),
        on_finished=lambda self, run: told.append((run.pk, run.state)),
    )
    assert tagging.dry_run().requests == 4
    run = tagging.start(label="elsewhere")
    with pytest.raises(AlreadyRunning):
        tagging.start()
    services.resume_run(services.pause_run(run))
    with ClaudeEmulator(seed=1, replies=lambda params, custom_id: first.pop(custom_id, "good")) as claude:
        over(run, claude)
        assert (run.state, effects()) == (RunState.FINISHED, [1, 0, 0, 1])
        assert told == [(bad, "errored"), (run.pk, "finished")]
        totals = RunTotals.of(run)
        assert (totals.requests, totals.failed, totals.failed_deliveries) == ({1: 4, 2: 1}, 1, 1)
        assert FailedDelivery.objects.using("other").get().position == 2
        about_bad = BatchRequest.objects.primary().for_target(Review.objects.get(pk=bad))
        assert about_bad.values_list("content_type__model", "object_id").get() == ("review", str(bad))
        assert BatchResult.objects.primary().for_target(Review.objects.get(pk=bad)).count() == 1
        assert (services.redeliver_failed(run), services.retry_run(run)) == (1, 1)
        job()
        over(run, claude)
        assert (run.state, effects()) == (RunState.FINISHED, [1, 1, 1, 1])
        batch = MessageBatch.objects.using("other").filter(run=run).earliest("pk")
        tagging.redeliver(batch)  # its first row was overloaded, and its second row failed
        services.advance_run(run)
        assert effects() == [1, 1, 2, 2]
        Review.objects.update(tags="")
        canceled = over(services.cancel_run(services.advance_run(tagging.start())), claude)
        assert canceled.state == RunState.CANCELED
    run.delete()
    for model in (JobRun, DeliveryChunk, BatchRequest, BatchResult):
        assert not model.objects.using("default").exists()
        assert model.objects.using("other").exists()
