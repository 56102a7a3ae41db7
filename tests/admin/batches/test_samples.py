"""The sample of results on the page of a batch: failures and unusable answers first, in the order of the requests."""

from __future__ import annotations

from typing import Any

import pytest

from django_claude_batches.admin.batches.samples import samples
from django_claude_batches.models import BatchResult, MessageBatch, State
from tests.admin.admin_pages import in_state
from tests.harness.factories import draft

pytestmark = [pytest.mark.django_db, pytest.mark.database]

DONE: dict[str, Any] = {"result_type": "succeeded", "stop_reason": "end_turn"}


def answered(batch: MessageBatch, **unlike: dict[str, Any]) -> list[str]:
    """Give each request a result, the last one first; return the custom_ids of the samples."""
    for request in batch.requests.order_by("-position"):
        columns = {**DONE, **unlike.get(f"r{request.position}", {})}
        BatchResult.objects.create(batch=batch, request=request, custom_id=request.custom_id, **columns)
    return [sample.result.custom_id for sample in samples(batch)]


def test_samples_are_in_the_order_of_the_requests_and_not_in_that_of_their_names() -> None:
    assert answered(draft(12)) == ["r-0", "r-1", "r-2", "r-3", "r-4"]


def test_failures_then_answers_that_cannot_be_used_come_first() -> None:
    errored, expired = {"result_type": "errored", "stop_reason": ""}, {"result_type": "expired", "stop_reason": ""}
    cut, refused, bad = {"stop_reason": "max_tokens"}, {"stop_reason": "refusal"}, {"output_error": "not JSON"}
    shown = answered(draft(12), r11=errored, r10=expired, r9=errored, r8=cut, r2=refused, r7=bad)
    assert shown == ["r-9", "r-10", "r-2", "r-7", "r-0"]


def test_without_whole_answers_there_are_more_of_the_others() -> None:
    cut = {"stop_reason": "max_tokens"}
    assert answered(draft(4), r0=cut, r1=cut, r2=cut, r3=cut) == ["r-0", "r-1", "r-2", "r-3"]


def test_failures_are_found_behind_the_requests_that_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_claude_batches.admin.batches.samples.MAX_LOOKED_AT", 6)
    batch = draft(12)
    in_state(
        batch,
        State.INGESTED,
        processing_count=0,
        result_counts=[{"result_type": "errored", "stop_reason": "", "count": 2}],
    )
    errored = {"result_type": "errored", "stop_reason": ""}
    assert answered(batch, r10=errored, r11=errored) == ["r-10", "r-11", "r-0", "r-1", "r-2"]


def test_results_of_a_batch_that_was_made_elsewhere_are_in_the_order_of_their_names() -> None:
    batch = MessageBatch.objects.create()
    for name in ("b", "a", "c"):
        BatchResult.objects.create(batch=batch, custom_id=name, **DONE)
    assert [sample.result.custom_id for sample in samples(batch)] == ["a", "b", "c"]


def test_there_are_no_samples_of_no_results() -> None:
    assert samples(draft(2)) == []


def test_an_answer_that_was_cut_off_is_not_called_succeeded() -> None:
    batch = MessageBatch.objects.create()
    BatchResult.objects.create(batch=batch, custom_id="a", **{**DONE, "stop_reason": "max_tokens"})
    assert [str(sample.outcome) for sample in samples(batch)] == ["cut off"]
