"""Factories of batches, requests and results."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.db.models import F
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.drafting.request import Prepared, check
from django_claude_batches.models import MessageBatch, Outcome, RemoteBatch, State, SubmitAttempt
from django_claude_batches.models.batch_state import ALWAYS_DUE, REMOTE


def item(number: int, **params: Any) -> dict[str, Any]:
    body = {"model": "claude-haiku-4-5", "max_tokens": 64, "messages": [{"role": "user", "content": f"Hello {number}"}]}
    return {"custom_id": f"r-{number}", "params": {**body, **params}}


def prepared(number: int, text: str = "Hello") -> Prepared:
    """Return a request as a run drafts it; each third has its own custom_id."""
    request = check(item(number, messages=[{"role": "user", "content": text}]), 0, ContentType.objects).encoded()
    return request._replace(custom_id="") if number % 3 else request


def draft(count: int = 3, **options: Any) -> MessageBatch:
    return MessageBatch.objects.create_draft((item(number) for number in range(count)), **options)


def running(count: int = 3, **options: Any) -> MessageBatch:
    """Return a batch that the emulator received."""
    batch = services.advance(services.submit(draft(count, **options)))
    assert batch.state == State.IN_PROGRESS, batch.last_error
    return batch


def in_state(state: State, **columns: Any) -> MessageBatch:
    """Return a batch that was created in this state, with the columns that the constraints require."""
    batch = draft(1)
    now = timezone.now()
    values: dict[str, Any] = {"state": state}
    if state != State.DRAFT:
        values["queued_at"] = now
    if state in ALWAYS_DUE or state == State.INGESTED:
        values["next_action_at"] = now
    if state in REMOTE:
        values |= {"anthropic_id": f"msgbatch_of{batch.pk}", "processing_status": "in_progress", "created_at": now}
    if state in {State.ENDED, State.INCOMPLETE, State.INGESTED, State.LOST}:
        values |= {"processing_status": "ended", "ended_at": now}
    if state == State.INGESTED:
        values |= {"ingested_at": now, "announced_at": now, "next_action_at": None}
    if state in {State.SUBMITTING, State.UNCERTAIN, State.ABANDONED}:
        SubmitAttempt.objects.create(
            batch=batch,
            number=1,
            tag=f"tagof{batch.pk:08d}",
            recorded_at=now,
            sent_at=now,
            outcome=Outcome.OPEN if state == State.SUBMITTING else Outcome.UNCERTAIN,
        )
    MessageBatch.objects.filter(pk=batch.pk).update(**{**values, **columns})
    batch.refresh_from_db()
    return batch


def make_due(batch: MessageBatch) -> None:
    """Make the batch due, and expire its lease."""
    past = timezone.now() - timedelta(hours=1)
    rows = MessageBatch.objects.filter(pk=batch.pk)
    rows.filter(next_action_at__isnull=False).update(next_action_at=past)
    rows.exclude(lease_token="").update(lease_until=past)


def let_ten_minutes_pass(by: timedelta = timedelta(minutes=11)) -> None:
    """For searches only: age the last listing that counted, the last reading, and the first 404."""
    SubmitAttempt.objects.filter(last_listing_at__isnull=False).update(last_listing_at=F("last_listing_at") - by)
    RemoteBatch.objects.filter(digest_at__isnull=False).update(digest_at=F("digest_at") - by)
    RemoteBatch.objects.filter(missed_at__isnull=False).update(missed_at=F("missed_at") - by)
