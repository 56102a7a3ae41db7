"""The list of runs: outcomes of rows, and why a run needs attention."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from django_claude_batches import services
from django_claude_batches.models import DeliveryChunk, JobRun, MessageBatch, RunTotals
from django_claude_batches.models.delivery import failure_columns
from django_claude_batches.testing import ClaudeEmulator
from django_claude_batches.testing.emulator.replies import Reply, scripted
from tests.admin.admin_pages import RESULTS, RUNS, page, run_in, url
from tests.harness.shop import BAD, job, over, reviews

pytestmark = pytest.mark.django_db


def columns(shown: str) -> list[str]:
    return re.findall(r'<th scope="col" class="[^"]*column-(\w+)', shown)


def test_failed_rows_are_counted_by_outcome_and_lead_to_their_results(root: Client) -> None:
    reviews(4)
    answers: dict[int, Any] = {
        0: "good",
        1: Reply("cu", stop_reason="max_tokens"),
        2: Reply(stop_reason="refusal"),
        3: BAD,
    }
    with ClaudeEmulator(replies=scripted(answers)) as claude:
        run = over(job(max_attempts=1).start(), claude)
    assert "1 delivered, 1 cut off, 1 refused, 1 errored" in page(root, url(RUNS))
    shown = page(root, url(RUNS, "change", run.pk))
    for method in ("usable", "truncated", "refused", "errored"):
        assert f'<a href="{url(RESULTS)}?batch={run.batches.get().pk}&amp;outcome={method}">' in shown


def test_canceled_rows_have_not_failed(root: Client) -> None:
    reviews(3)
    with ClaudeEmulator(processed_share=0.0) as claude:
        run = job().start()
        services.advance_run(run)
        services.cancel_run(run)
        over(run, claude)
    totals = RunTotals.of(JobRun.objects.get(pk=run.pk))
    assert (totals.failed, totals.canceled, dict(totals.failures)) == (0, 3, {"canceled": 3})
    for shown in (page(root, url(RUNS)), page(root, url(RUNS, "change", run.pk))):
        assert 'aria-label="3 canceled"' in shown
        assert "3 failed" not in shown


def test_rows_that_are_asked_again_are_not_counted_as_failed_any_more() -> None:
    run = run_in("troubled")
    chunk = DeliveryChunk.objects.get()
    for name, value in failure_columns([[0, "errored"], [1, "truncated"]]).items():
        setattr(chunk, name, value)
    chunk.mark_for_retry({0: "as_it_is"})
    assert dict(RunTotals.of(run).failures) == {"truncated": 1}


def test_why_a_run_needs_attention_is_in_the_list(root: Client, django_assert_max_num_queries: Any) -> None:
    assert columns(page(root, url(RUNS))) == []
    run_in("finished")
    assert columns(page(root, url(RUNS))) == ["state_label", "name", "progress", "age"]
    for standing in ("paused", "stuck", "troubled"):
        run_in(standing)
    MessageBatch.objects.update(cost_usd="0.004")
    with django_assert_max_num_queries(10):
        shown = page(root, url(RUNS))
    assert columns(shown) == ["state_label", "name", "progress", "cost", "age", "attention"]
    for text in (
        "Paused: Paused by ida.",
        "Deliveries are not retried any more: see the run&#x27;s page",
        "Rows that raised an error in the job&#x27;s code: 1.",
        "&lt;\xa0$0.01",
    ):
        assert text in shown
