"""Outcome counts agree with the stored results, and are read without querying the results."""

from __future__ import annotations

from typing import Any

import pytest

from django_claude_batches import services
from django_claude_batches.models import BatchResult, MessageBatch, State, UsageRollup
from django_claude_batches.models.batch.outcomes import in_words, method_of, outcome_counts, read_invalid_counts
from django_claude_batches.models.usage import MAX_RESULT_GROUPS
from django_claude_batches.testing import ClaudeEmulator, Failure
from django_claude_batches.testing.emulator.replies import Reply, scripted
from tests.harness.factories import draft, in_state, item
from tests.harness.shop import SCHEMA, deliver_all, job, over, reviews

pytestmark = [pytest.mark.django_db, pytest.mark.database]

ANSWERS: dict[int, Any] = {
    0: "good",
    1: Reply("cu", stop_reason="max_tokens"),
    2: Reply(stop_reason="refusal"),
    3: Failure(),
    4: "good",
    5: Reply("half", stop_reason="pause_turn"),
    6: Reply("x", stop_reason="TOOL_USE"),
    7: "missing",
}


def counted(batch: MessageBatch) -> dict[str, int]:
    return {each.name: each.count for each in outcome_counts(MessageBatch.objects.get(pk=batch.pk))}


def answered(answers: dict[int, Any]) -> MessageBatch:
    with ClaudeEmulator(replies=scripted(answers)) as claude:
        batch = services.submit(MessageBatch.objects.create_draft(item(number) for number in range(len(answers))))
        services.advance(batch)
        claude.finish()
        services.advance(batch)
    return batch


def test_each_count_is_the_number_that_its_filter_finds(django_assert_num_queries: Any) -> None:
    batch = answered(ANSWERS)
    with django_assert_num_queries(0):
        counts = outcome_counts(batch)
    found = {each.name: (each.count, getattr(batch.results, method_of(each.name))().count()) for each in counts}
    assert found == {
        "succeeded": (3, 3),
        "truncated": (1, 1),
        "refused": (1, 1),
        "unfinished": (2, 2),
        "errored": (1, 1),
    }
    assert in_words(counts) == "3 succeeded, 1 cut off, 1 refused, 2 not finished, 1 errored"


def test_whole_stop_reasons_are_read_when_outcomes_are_counted(settings: Any) -> None:
    batch = answered(ANSWERS)
    settings.CLAUDE_BATCHES = {**settings.CLAUDE_BATCHES, "WHOLE_STOP_REASONS": ["pause_turn"]}
    assert counted(batch) == {"succeeded": 4, "truncated": 1, "refused": 1, "unfinished": 1, "errored": 1}
    assert batch.results.usable().count() == 4


def test_before_results_are_stored_the_counts_are_the_servers() -> None:
    batch = in_state(State.ENDED, succeeded_count=90, errored_count=3, canceled_count=7)
    counts = outcome_counts(batch)
    assert in_words(counts) == "90 answered, 3 errored, 7 canceled"
    assert [method_of(each.name) for each in counts] == ["succeeded", "errored", "canceled"]


@pytest.mark.parametrize("state", [State.DRAFT, State.QUEUED, State.UNCERTAIN, State.ABANDONED])
def test_a_batch_that_is_not_at_anthropic_has_no_outcomes(state: State) -> None:
    assert outcome_counts(in_state(state, missing_count=1)) == []


def test_missing_results_and_those_of_a_new_type_are_counted() -> None:
    batch = draft(4)
    for number, result_type in enumerate(["paused", "succeeded", "canceled"]):
        request = batch.requests.get(position=number)
        columns = {"custom_id": request.custom_id, "result_type": result_type, "stop_reason": "end_turn"}
        BatchResult.objects.create(batch=batch, request=request, **columns)
    batch.result_counts = UsageRollup.objects.sum_up(batch.pk).result_counts
    batch.state, batch.missing_count = State.INGESTED, 1
    counts = outcome_counts(batch)
    assert in_words(counts) == "1 succeeded, 1 canceled, 1 missing, 1 of another type"
    assert [method_of(each.name) for each in counts] == ["usable", "canceled", "", ""]


def test_the_number_of_stored_groups_is_bounded() -> None:
    batch = draft(1)
    rows = [
        BatchResult(batch=batch, custom_id=f"r-{number}", result_type="succeeded", stop_reason=f"tired-{number:03}")
        for number in range(60)
    ]
    rows += [BatchResult(batch=batch, custom_id=f"t-{number}", result_type=f"new-{number}") for number in range(3)]
    rows += [
        BatchResult(batch=batch, custom_id=f"s-{number}", result_type="succeeded", stop_reason="end_turn")
        for number in range(2)
    ]
    BatchResult.objects.bulk_create(rows)
    found = UsageRollup.objects.sum_up(batch.pk)
    assert len(found.result_counts) <= MAX_RESULT_GROUPS + 2
    assert [(row.results, row.model) for row in found.usage] == [(62, "")]
    batch.state, batch.result_counts = State.INGESTED, found.result_counts
    assert in_words(outcome_counts(batch)) == "2 succeeded, 60 not finished, 3 of another type"


class TestInvalidOutput:
    def test_counts_change_with_validation_and_redelivery(self, django_assert_num_queries: Any) -> None:
        reviews(3)
        answers = iter(['{"tags": 3}', '{"tags": ["a"]}', '{"tags": 4}'])
        with ClaudeEmulator(seed=1, replies=lambda params, custom_id: next(answers)) as claude:
            run = over(job(max_attempts=1, output_schema=SCHEMA).start(), claude)
        batch = run.batches.get()
        with django_assert_num_queries(1):
            outcome_counts(batch)
        assert counted(batch) == {"succeeded": 1, "invalid_output": 2} == self.stored(batch)
        job(max_attempts=1, output_schema={"type": "object"})
        services.redeliver(batch)
        deliver_all()
        assert counted(batch) == {"succeeded": 3} == self.stored(batch)
        job(max_attempts=1, output_schema={"type": "array"})
        services.redeliver(batch)
        deliver_all()
        assert counted(batch) == {"invalid_output": 3} == self.stored(batch)

    def stored(self, batch: MessageBatch) -> dict[str, int]:
        found = {"succeeded": batch.results.usable().count(), "invalid_output": batch.results.invalid_output().count()}
        return {name: count for name, count in found.items() if count}

    def test_a_page_of_batches_takes_one_query(self, django_assert_num_queries: Any) -> None:
        batches = [draft(1) for _number in range(3)]
        with django_assert_num_queries(0):
            read_invalid_counts(batches)
        batches[0].run_id = batches[1].run_id = 7
        with django_assert_num_queries(1):
            read_invalid_counts(batches)
            assert [outcome_counts(batch) for batch in batches] == [[], [], []]
