"""Batches and runs in given states, and helpers for the pages of the admin."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from django_claude_batches.models import (
    BatchResult,
    DeliveryChunk,
    FailedDelivery,
    JobRun,
    MessageBatch,
    Outcome,
    ResultProblem,
    RunState,
    State,
    SubmitAttempt,
    UsageRollup,
)
from django_claude_batches.models.batch_state import ALWAYS_DUE, FETCHING, REMOTE
from tests.harness.factories import draft
from tests.harness.shop import job

HOSTILE = "<script>alert('x')</script>"
PROMPT = "Hello 0"
ANSWER = "The answer is 42"
STILL = "Nothing is moving. Start a worker and beat, or run `manage.py claude_batches tick --loop`."


def in_state(batch: MessageBatch, state: State, **changes: Any) -> MessageBatch:
    """Put the row into a state, with only the columns that its constraints require."""
    now = timezone.now()
    facts: dict[str, Any] = {"state": state, "queued_at": now}
    if state in REMOTE:
        facts |= {"anthropic_id": f"msgbatch_{batch.pk}", "created_at": now, "processing_count": batch.request_count}
    if state in ALWAYS_DUE:
        facts["next_action_at"] = now
    if state in FETCHING | {State.INGESTED}:
        facts["processing_status"] = "ended"
    if state == State.INGESTED:
        facts |= {"ingested_at": now, "announced_at": now}
    MessageBatch.objects.filter(pk=batch.pk).update(**{**facts, **changes})
    batch.refresh_from_db()
    return batch


def ingest(batch: MessageBatch, text: str = ANSWER) -> MessageBatch:
    requests = list(batch.requests.order_by("position"))
    message = {"role": "assistant", "content": [{"type": "text", "text": text}]}
    succeeded = {"result_type": "succeeded", "stop_reason": "end_turn", "model": "claude-haiku-4-5", "message": message}
    errored = {"result_type": "errored", "error_type": "invalid_request_error", "error_message": f"no {HOSTILE}"}
    for request, columns in zip(requests, (succeeded, errored), strict=False):
        BatchResult.objects.create(batch=batch, request=request, custom_id=request.custom_id, **columns)
    counts: dict[str, Any] = {"processing_count": 0, "succeeded_count": 1, "errored_count": 1, "missing_count": 1}
    summary = UsageRollup.objects.sum_up(batch.pk)
    counts |= {"error_groups": summary.error_groups, "result_counts": summary.result_counts}
    UsageRollup(model="claude-haiku-4-5", results=1, input_tokens=1234).of(batch).save()
    now = timezone.now()
    SubmitAttempt.objects.create(
        batch=batch, number=1, tag=f"tag{batch.pk:010d}", recorded_at=now, sent_at=now, outcome=Outcome.ACCEPTED
    )
    ResultProblem.objects.create(batch=batch, number=7, offset=9, sha256="0" * 64, reason="cut", excerpt=ANSWER)
    return in_state(batch, State.INGESTED, **counts)


def run_in(standing: str) -> JobRun:
    """Create a run in this state, or "paused", "unasked", "stuck" or "troubled".

    A run that is drafted has a complete batch of 3 requests.
    """
    job()
    state = standing if standing in RunState.values else RunState.RUNNING
    state = RunState.DRAFTING if standing == "unasked" else state
    is_over = state in {RunState.FINISHED, RunState.CANCELED}
    now = timezone.now()
    run = JobRun.objects.create(
        job="tag-reviews", state=state, next_action_at=None if is_over else now, finished_at=now if is_over else None
    )
    if standing in {"paused", "unasked"}:
        JobRun.objects.filter(pk=run.pk).update(paused_at=now, pause_reason="Paused by ida.")
    if state == RunState.DRAFTING:
        run.refresh_from_db()
        return run
    batch = draft(3, kind="tag-reviews")
    MessageBatch.objects.filter(pk=batch.pk).update(run=run, run_attempt=1)
    in_state(batch, State.INGESTED, delivered_at=now, errored_count=1, succeeded_count=2)
    chunk = {"batch": batch, "position": 3, "last_position": 2, "delivered_count": 3, "outcomes": {"succeeded": 3}}
    if standing == "stuck":
        DeliveryChunk.objects.create(batch=batch, position=0, last_position=2, failures=6, last_error="OSError: full")
        return run
    if standing == "troubled":
        chunk |= {
            "failed": [[1, "errored"]],
            "failed_count": 1,
            "failed_outcomes": {"errored": 1},
            "outcomes": {"succeeded": 2, "errored": 1},
        }
        park(batch, 2)
    DeliveryChunk.objects.create(**chunk, done_at=now)
    run.refresh_from_db()
    return run


def park(
    batch: MessageBatch, position: int, error: str = "LookupError: no such tag", traceback: str = "at line 3"
) -> None:
    request = batch.requests.get(position=position)
    FailedDelivery.objects.create(
        batch=batch, request=request, position=position, outcome="succeeded", error=error, traceback=traceback
    )


def url(model: str, name: str = "changelist", *args: Any) -> str:
    return reverse(f"admin:django_claude_batches_{model}_{name}", args=args)


BATCHES = "messagebatch"
RESULTS = "batchresult"
REQUESTS = "batchrequest"
ACCOUNTS = "accountstate"
RUNS = "jobrun"
USAGE = "usagerollup"


def page(client: Client, address: str, **query: Any) -> str:
    response = client.get(address, query)
    assert response.status_code == 200, (address, response.status_code, response.headers)
    return response.content.decode()


def act(
    client: Client, action: str, *rows: Any, confirmed: bool = True, model: str = BATCHES, **fields: Any
) -> HttpResponse:
    """Post an action of a list for these rows, as its confirmation page does."""
    data = {"action": action, "_selected_action": [row.pk for row in rows], **fields}
    if confirmed:
        data["confirmed"] = "yes"
    return client.post(url(model), data)


def said(response: Any) -> list[str]:
    """Return the messages that the next page shows."""
    return [str(message) for message in response.wsgi_request._messages]
