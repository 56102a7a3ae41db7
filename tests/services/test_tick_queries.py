"""A tick costs what is due, not what exists."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_claude_batches.models import MessageBatch, State
from django_claude_batches.services.engine import dispatch_due_batches, dispatch_due_polls, tick

pytestmark = [pytest.mark.django_db, pytest.mark.database]

REST = timedelta(seconds=20)
SOME, MANY = 300, 10_000


def finish(count: int) -> None:
    at = timezone.now() - timedelta(days=1)
    times: dict[str, Any] = dict.fromkeys(("queued_at", "created_at", "ended_at", "ingested_at", "announced_at"), at)
    done = {"state": State.INGESTED, "processing_status": "ended", "request_count": 100, **times}
    rows = (MessageBatch(anthropic_id=f"msgbatch_done_{number}", **done) for number in range(count))
    MessageBatch.objects.bulk_create(rows, batch_size=500)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("ANALYZE")


def ticked() -> list[str]:
    with CaptureQueriesContext(connection) as queries:
        tick(lambda pk: None)
        dispatch_due_batches(lambda pk: None, rest=REST)
        dispatch_due_polls(lambda alias: None, rest=REST)
    return [query["sql"] for query in queries.captured_queries]


@pytest.mark.parametrize("count", [SOME, pytest.param(MANY, marks=pytest.mark.slow)])
def test_finished_batches_cost_nothing(count: int) -> None:
    ticked()  # the account's row is made by it
    before = len(ticked())
    finish(count)
    statements = ticked()
    assert len(statements) == before
    if connection.vendor != "postgresql" or count < MANY:  # a small table is read whole
        return
    for statement in statements:
        if statement.startswith("SELECT") and "messagebatch" in statement:
            with connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN {statement}")
                plan = "\n".join(line for (line,) in cursor.fetchall())
            assert "Seq Scan on django_claude_batches_messagebatch" not in plan, plan
