"""Results that come late, or never: no row is lost by them, and none has two effects."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from django_claude_batches import job_registry, services
from django_claude_batches.exceptions import ClaudeBatchesError, InvalidTransition
from django_claude_batches.models import DeliveryChunk, FailedDelivery, JobRun, MessageBatch, RunState, State
from django_claude_batches.services.submission import close_attempt
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import make_due
from tests.harness.library.models import Review
from tests.harness.shop import deliver_all, effects, fetched, job, over, reviews

pytestmark = [pytest.mark.django_db, pytest.mark.database]

DAYS = timedelta(days=3)


def incomplete(run: JobRun, claude: ClaudeEmulator, *, line: int = 2) -> MessageBatch:
    """Take a run to its end, of whose first batch a line did not come."""
    claude.fault("missing_line", times=5, line=line)
    fetched(run, claude)
    batch = run.batches.get()
    for _try in range(5):
        make_due(batch)
        services.advance(batch)
    assert (batch.state, batch.missing_count) == (State.INGESTED, 1)
    over(run, claude)
    assert run.state == RunState.FINISHED, run.last_error
    return batch


def fetch_again(batch: MessageBatch) -> None:
    batch.refresh_from_db()
    services.reingest(batch)
    services.advance(batch)
    assert (batch.state, batch.missing_count) == (State.INGESTED, 0)


def watching(failures: list[str], **members: Any) -> Any:
    def on_failure(self: Any, review: Review, result: Any) -> None:
        failures.append(result.outcome)

    return job(on_failure=on_failure, **members)


@pytest.mark.slow
def test_one_that_failed_as_missing_is_handed_over_when_it_comes(claude: ClaudeEmulator) -> None:
    reviews(3)
    failures: list[str] = []
    batch = incomplete(watching(failures, max_attempts=1).start(), claude)
    assert (sum(effects()), failures) == (2, ["missing"])
    fetch_again(batch)
    deliver_all()
    assert (effects(), failures) == ([1, 1, 1], ["missing"])
    assert [chunk.outcomes for chunk in DeliveryChunk.objects.order_by("pk")] == [{"succeeded": 2}, {"succeeded": 1}]
    assert sum(DeliveryChunk.objects.values_list("failed_count", flat=True)) == 0
    with pytest.raises(ClaudeBatchesError, match="nothing to retry"):
        services.retry_run(batch.run)  # type: ignore[arg-type]
    fetch_again(batch)
    deliver_all()
    assert effects() == [1, 1, 1]


def test_a_late_delivery_that_stands_still_goes_on_when_its_run_is_resumed(claude: ClaudeEmulator) -> None:
    reviews(3)
    batch = incomplete(job(max_attempts=1).start(), claude)
    run = JobRun.objects.get()
    with pytest.raises(InvalidTransition, match="it is over, and no delivery of it is left"):
        services.resume_run(run)
    job_registry.unregister("tag-reviews")
    fetch_again(batch)
    deliver_all()
    assert DeliveryChunk.objects.stuck().count() == 1
    job()
    services.resume_run(run)
    deliver_all()
    assert (effects(), DeliveryChunk.objects.undone().count(), run.state) == ([1, 1, 1], 0, RunState.FINISHED)


@pytest.mark.slow
def test_one_that_was_asked_again_has_one_effect(claude: ClaudeEmulator) -> None:
    reviews(3)
    failures: list[str] = []
    batch = incomplete(watching(failures).start(), claude)
    assert (effects(), failures, batch.run.batches.count()) == ([1, 1, 1], [], 2)  # type: ignore[union-attr]
    fetch_again(batch)
    deliver_all()
    assert effects() == [1, 1, 1]


@pytest.mark.slow
def test_one_whose_on_failure_raised_is_parked_no_more(claude: ClaudeEmulator) -> None:
    reviews(3)

    def on_failure(self: Any, review: Review, result: Any) -> None:
        raise LookupError

    batch = incomplete(job(on_failure=on_failure, max_attempts=1).start(), claude)
    assert FailedDelivery.objects.count() == 1
    fetch_again(batch)
    deliver_all()
    assert (effects(), FailedDelivery.objects.count()) == ([1, 1, 1], 0)


def test_lost_rows_fail_as_missing_and_are_not_asked_again(claude: ClaudeEmulator) -> None:
    reviews(3)
    failures: list[str] = []
    run = services.advance_run(watching(failures).start())
    claude.finish()
    batch = run.batches.get()
    services.delete_remote(batch, discard_results=True)
    for _round in range(4):
        make_due(batch)
        services.advance(batch)
    assert batch.state == State.LOST
    over(run, claude)
    assert (run.state, failures, run.batches.count()) == (RunState.FINISHED, ["missing"] * 3, 1)
    assert services.retry_run(run) == 3, "a person may"


def test_a_missing_batch_that_a_person_declares_lost_ends_its_run(claude: ClaudeEmulator) -> None:
    """Behind a server that names no Workspace nothing proves that it was deleted."""
    reviews(3)
    failures: list[str] = []
    run = services.advance_run(watching(failures).start())
    long_ago = timezone.now() - timedelta(hours=1)
    MessageBatch.objects.filter(run=run).update(misses=3, missed_at=long_ago, next_action_at=long_ago + DAYS)
    batch = run.batches.get()
    assert (batch.state, run.state) == (State.IN_PROGRESS, RunState.RUNNING)
    services.declare_lost(batch)
    over(run, claude)
    assert (run.state, failures, batch.state) == (RunState.FINISHED, ["missing"] * 3, State.LOST)


@pytest.mark.slow
def test_a_held_batch_that_a_person_declares_lost_ends_its_run(claude: ClaudeEmulator) -> None:
    reviews(3)
    claude.fault("never_lands", times=1)
    run = services.advance_run(job().start())
    batch = run.batches.get()
    close_attempt.hold_undecided(batch, batch.attempts.get(), "it is a test")
    assert over(run, claude).state == RunState.RUNNING, "it waits for a person"
    services.declare_lost(batch)
    over(run, claude)
    assert (run.state, batch.state, effects()) == (RunState.FINISHED, State.ABANDONED, [0, 0, 0])


def test_given_up_and_then_found(claude: ClaudeEmulator) -> None:
    """The run goes on without it, and is over when its results come: they are delivered, and nothing is asked again."""
    reviews(3)
    run = services.advance_run(job().start())
    claude.finish()
    batch = run.batches.get()
    anthropic_id = batch.anthropic_id
    abandoned = {"state": State.ABANDONED, "anthropic_id": None, "next_action_at": None}
    MessageBatch.objects.filter(pk=batch.pk).update(**abandoned)
    over(run, claude)
    assert (run.state, effects()) == (RunState.FINISHED, [0, 0, 0])
    revived = {"state": State.IN_PROGRESS, "anthropic_id": anthropic_id, "next_action_at": timezone.now()}
    MessageBatch.objects.filter(pk=batch.pk).update(**revived)
    services.advance(MessageBatch.objects.get(pk=batch.pk))
    deliver_all()
    run.refresh_from_db()
    assert (run.state, effects()) == (RunState.FINISHED, [1, 1, 1])
