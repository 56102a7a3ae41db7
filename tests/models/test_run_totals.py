from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries

from django_claude_batches.models import JobRun, MessageBatch, RunState, RunTotals, State
from django_claude_batches.services import advance_run, redeliver
from django_claude_batches.testing import ClaudeEmulator, Failure, Reply
from tests.harness.library.models import Review
from tests.harness.shop import job, over, reviews

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def answering(params: Any, custom_id: str, *, seen: set[str]) -> Any:
    """Overload the first two the first time; refuse the last each time."""
    text = params["messages"][0]["content"]
    is_first = text not in seen
    seen.add(text)
    if text.endswith(("Review 0", "Review 1")) and is_first:
        return Failure("overloaded_error", "Overloaded", while_running=True)
    return Failure("invalid_request_error", "No.") if text.endswith("Review 9") else "good"


def test_totals_of_a_finished_run(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    rows = reviews(10)

    def on_result(self: Any, review: Review, result: Any) -> None:
        if review.pk == rows[3].pk:
            raise LookupError("no such tag")

    run = job(on_result=on_result).start()
    with ClaudeEmulator(replies=partial(answering, seen=set())) as claude:
        over(run, claude)
    other = JobRun.objects.create(job="other", state=RunState.FINISHED)
    with django_assert_num_queries(4):
        totals = RunTotals.of(run)
    assert run.state == RunState.FINISHED
    assert totals.rows == 10
    assert (totals.batches, totals.batch_count) == ({State.INGESTED: 2}, 2)
    assert totals.requests == {1: 10, 2: 2}
    assert (totals.handled, totals.request_count) == (12, 12)
    assert totals.outcomes == {"succeeded": 9, "errored": 3}
    assert (totals.delivered, totals.failed, totals.failed_deliveries, totals.gone, totals.to_retry) == (8, 1, 1, 0, 0)
    assert totals.body_bytes == sum(MessageBatch.objects.values_list("body_bytes", flat=True))
    assert totals.usage["output_tokens"] > 0
    costs = [cost for cost in MessageBatch.objects.values_list("cost_usd", flat=True) if cost is not None]
    assert totals.cost_usd == sum(costs, Decimal(0)) > 0
    with django_assert_num_queries(4):
        assert RunTotals.of_each([run, other]) == {run.pk: totals, other.pk: RunTotals(rows=0)}


@pytest.mark.slow
def test_rows_to_retry_are_counted_until_they_are_answered() -> None:
    reviews(10)
    run = job().start()
    with ClaudeEmulator(replies=partial(answering, seen=set())) as claude:
        advance_run(run)
        before = RunTotals.of(run)
        claude.finish()
        advance_run(run)
        between = RunTotals.of(run)
    assert (before.requests, before.to_retry, before.handled) == ({1: 10}, 0, 0)
    assert before.batches == {State.IN_PROGRESS: 1}
    assert (between.requests, between.to_retry, between.handled) == ({1: 10, 2: 2}, 2, 10)
    assert between.batches == {State.IN_PROGRESS: 1, State.INGESTED: 1}


def test_redelivered_answers_count_once(claude: ClaudeEmulator) -> None:
    reviews(3)
    run = job().start()
    over(run, claude)
    redeliver(MessageBatch.objects.get())
    advance_run(run)
    assert list(Review.objects.values_list("effects", flat=True)) == [2, 2, 2]
    totals = RunTotals.of(run)
    assert (totals.delivered, totals.outcomes) == (3, {"succeeded": 3})


def test_an_unknown_cost_is_none() -> None:
    reviews(3)
    run = job().start()
    with ClaudeEmulator(replies=lambda params, custom_id: Reply("good", usage={"service_tier": "standard"})) as claude:
        over(run, claude)
    totals = RunTotals.of(run)
    assert (totals.cost_usd, totals.batches_of_unknown_cost) == (None, 1)
