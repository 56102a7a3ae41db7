"""What a tick asks about runs and deliveries costs what is due, not what was."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_claude_batches.models import DeliveryChunk, JobRun, MessageBatch, RunState, State
from django_claude_batches.models.delivery import CHUNK_REQUESTS
from django_claude_batches.services.delivery.deliver import dispatch_due_deliveries
from django_claude_batches.services.runs.drive import dispatch_due_runs
from django_claude_batches.services.runs.throttle import submit_pending

pytestmark = [pytest.mark.django_db, pytest.mark.database]

BATCHES = 1_000
SOME, MANY = 300, 10_000
"""Delivery chunks."""
LARGE = ("messagebatch", "deliverychunk")
REST = timedelta(seconds=20)


def finish(count: int) -> None:
    """Let a run be over, with very many batches, and deliveries of these."""
    at = timezone.now()
    run = JobRun.objects.create(job="tag-reviews", state=RunState.FINISHED, finished_at=at)
    times: dict[str, Any] = dict.fromkeys(("queued_at", "created_at", "ended_at", "ingested_at", "announced_at"), at)
    done = {"state": State.INGESTED, "processing_status": "ended", "run": run, "delivered_at": at, **times}
    MessageBatch.objects.bulk_create(
        MessageBatch(anthropic_id=f"msgbatch_{number}", **done) for number in range(BATCHES)
    )
    pks = list(MessageBatch.objects.values_list("pk", flat=True))
    DeliveryChunk.objects.bulk_create(
        DeliveryChunk(
            batch_id=pks[number % BATCHES], position=CHUNK_REQUESTS, last_position=CHUNK_REQUESTS - 1, done_at=at
        )
        for number in range(count)
    )
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")


def asked() -> list[str]:
    with CaptureQueriesContext(connection) as queries:
        dispatch_due_runs(lambda pk: None, rest=REST)
        dispatch_due_deliveries(lambda pk: None, rest=REST)
        submit_pending()
    return [query["sql"] for query in queries.captured_queries]


@pytest.mark.parametrize("count", [SOME, pytest.param(MANY, marks=pytest.mark.slow)])
def test_what_is_over_costs_nothing(count: int) -> None:
    before = len(asked())
    finish(count)
    statements = asked()
    assert len(statements) == before
    for statement in statements if connection.vendor == "postgresql" and count == MANY else ():
        if statement.startswith(("SELECT", "UPDATE")):
            with connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN {statement}")
                plan = "\n".join(line for (line,) in cursor.fetchall())
            for table in LARGE:
                assert f"Seq Scan on django_claude_batches_{table}" not in plan, plan
