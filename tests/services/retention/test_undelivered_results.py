"""What RETENTION leaves until a job has taken it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.exceptions import InvalidTransition
from django_claude_batches.models import BatchRequest, BatchResult, DeliveryChunk, MessageBatch, RunState
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.library.models import Review
from tests.harness.shop import BAD, deliver_all, effects, fetched, job, over, reviews

pytestmark = [pytest.mark.django_db, pytest.mark.database]

DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def keep_a_day(settings: Any) -> None:
    settings.CLAUDE_BATCHES = {"KICK": False, "RETENTION": {"REQUEST_BODIES": DAY, "RESULT_BODIES": DAY}}


def purge_after_days() -> tuple[int, int]:
    """Let days pass and purge; give how many requests and results still have their bodies."""
    MessageBatch.objects.update(announced_at=timezone.now() - 9 * DAY)
    services.purge()
    requests = BatchRequest.objects.exclude(params_text="").count()
    return requests, BatchResult.objects.filter(message__isnull=False).count()


def test_nothing_of_an_active_run(claude: ClaudeEmulator) -> None:
    reviews(2)
    run = job().start()
    fetched(run, claude)
    assert purge_after_days() == (2, 2)
    deliver_all()
    assert purge_after_days() == (2, 2)
    over(run, claude)
    assert (run.state, effects()) == (RunState.FINISHED, [1, 1])
    assert purge_after_days() == (0, 0)


def test_nothing_that_is_being_handed_out(claude: ClaudeEmulator) -> None:
    reviews(2)
    run = over(job().start(), claude)
    services.redeliver(run.batches.get())
    assert purge_after_days() == (2, 2)
    deliver_all()
    assert purge_after_days() == (0, 0)


def test_nothing_that_is_parked(claude: ClaudeEmulator) -> None:
    reviews(2)

    def on_result(self: Any, review: Review, result: Any) -> None:
        raise LookupError

    run = over(job(on_result=on_result).start(), claude)
    assert purge_after_days() == (2, 2)
    job()
    services.redeliver_failed(run)
    deliver_all()
    assert effects() == [1, 1]
    assert purge_after_days() == (0, 0)


def test_what_was_taken_cannot_be_asked_again() -> None:
    reviews(2)
    with ClaudeEmulator(seed=1, replies=lambda params, custom_id: BAD) as claude:
        run = over(job().start(), claude)
    assert purge_after_days() == (0, 0)
    with pytest.raises(InvalidTransition, match="its request bodies are gone"):
        services.retry_run(run)
    run.refresh_from_db()
    assert (run.state, DeliveryChunk.objects.get().failed_count) == (RunState.FINISHED, 2)


def test_what_was_taken_cannot_be_handed_out_again(claude: ClaudeEmulator) -> None:
    reviews(2)
    run = over(job().start(), claude)
    purge_after_days()
    with pytest.raises(InvalidTransition, match="its answers are gone"):
        services.redeliver(run.batches.get())
