"""Jobs of a shop, defined for each test that uses one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import F
from django.utils import timezone

from django_claude_batches import job_registry
from django_claude_batches.jobs import BatchJob
from django_claude_batches.models import DeliveryChunk, JobRun, MessageBatch
from django_claude_batches.services import advance, advance_run
from django_claude_batches.services.delivery.deliver import deliver_if_due
from django_claude_batches.services.runs.drive import drive
from django_claude_batches.services.runs.throttle import submit_pending
from django_claude_batches.testing import ClaudeEmulator, Failure
from tests.harness.library.models import Review

SCHEMA = {
    "type": "object",
    "properties": {"tags": {"type": "array", "items": {"type": "string"}}},
    "required": ["tags"],
}

# Result lines of requests that were accepted and failed later.
OVERLOADED = Failure("overloaded_error", "Overloaded", while_running=True)
BAD = Failure("invalid_request_error", "messages: too long", while_running=True)


def job(name: str = "tag-reviews", **members: Any) -> type[BatchJob]:
    """Define a job that stores an answer's text in its review, and counts the calls there."""
    job_registry.unregister(name)
    return type("TagReviews", (Tagging,), {"name": name, **members})


class Tagging(BatchJob, abstract=True):
    claude_model = "claude-haiku-4-5"
    max_tokens = 200

    def get_queryset(self) -> Any:
        return Review.objects.filter(tags="")

    def get_prompt(self, review: Review) -> str:
        return f"Tag this review:\n{review.text}"

    def on_result(self, review: Review, result: Any) -> None:
        Review.objects.filter(pk=review.pk).update(tags=result.text[:50], effects=F("effects") + 1)


def reviews(count: int) -> list[Review]:
    return Review.objects.bulk_create(Review(text=f"Review {number}") for number in range(count))


def over(run: JobRun, claude: ClaudeEmulator, rounds: int = 10) -> JobRun:
    """Let days pass until the run is over or stuck."""
    for _round in range(rounds):
        advance_run(run)
        if not run.is_active or run.is_paused:
            break
        claude.finish()
    return run


def fetched(run: JobRun, claude: ClaudeEmulator) -> list[MessageBatch]:
    """Advance a run's batches until their results are stored and not delivered."""
    drive(run.pk)
    submit_pending()
    for batch in run.batches.in_flight():
        advance(batch)
    claude.finish()
    for batch in run.batches.in_flight():
        advance(batch)
    return list(run.batches.order_by("pk"))


def deliver_all() -> None:
    """Deliver everything that is due, as a worker does."""
    DeliveryChunk.objects.dispatch_due(deliver_if_due, timedelta(0), limit=1000)


def effects() -> list[int]:
    return list(Review.objects.order_by("pk").values_list("effects", flat=True))


def let_time_come() -> None:
    """Make all runs and deliveries due, and expire all leases."""
    past = timezone.now() - timedelta(days=1)
    for rows in (DeliveryChunk.objects, JobRun.objects):
        rows.filter(next_action_at__isnull=False).update(next_action_at=past, dispatched_at=None)
        rows.exclude(lease_token="").update(lease_until=past)
