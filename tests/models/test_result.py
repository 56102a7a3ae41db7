from __future__ import annotations

from typing import Any

import pytest
from django.db import NotSupportedError, connection
from django.db.models import FloatField
from django.db.models.functions import Cast

from django_claude_batches import services
from django_claude_batches.models import BatchResult, MessageBatch, State
from django_claude_batches.testing import ClaudeEmulator
from django_claude_batches.testing.emulator.replies import Reply, scripted
from django_claude_batches.testing.emulator.validation.params import Failure
from tests.harness.factories import item
from tests.harness.library.models import Book
from tests.harness.selections import slow_but

pytestmark = [pytest.mark.django_db, pytest.mark.database]

ANSWERS = {0: "good", 1: Reply("cu", stop_reason="max_tokens"), 2: Reply(stop_reason="refusal"), 3: Failure(), 4: "bad"}
OUTPUTS: dict[str, Any] = {
    "r-0": {"tags": ["quiet", "cheap"], "sentiment": "good", "score": 4, "by": {"name": "Ä😀"}},
    "r-1": {"tags": [], "sentiment": "bad", "score": 2.5},
    "r-2": {"tags": ["far"], "sentiment": "good", "score": 10, "by": None},
    "r-3": {"tags": ["quiet", {"deep": 1}], "sentiment": "so", "score": 3},
}


def answered(answers: dict[int, Any], *, kind: str = "", target: Any = None) -> MessageBatch:
    seed = MessageBatch.objects.count()  # emulators with the same seed return the same ids
    with ClaudeEmulator(seed=seed, replies=scripted(answers)) as claude:
        items = ({**item(number), "target": target} for number in range(len(answers)))
        batch = services.submit(MessageBatch.objects.create_draft(items, kind=kind))
        services.advance(batch)
        claude.finish()
        assert services.advance(batch).state == State.INGESTED
    return batch


def invalidated(batch: MessageBatch, custom_id: str) -> None:
    batch.results.filter(custom_id=custom_id).update(output_error="$: 'tags' is a required property")


def ids(results: Any) -> list[str]:
    return sorted(results.values_list("custom_id", flat=True))


class TestOutcomes:
    def test_results_are_not_invalid_until_they_are_marked(self) -> None:
        batch = answered(ANSWERS)
        assert {result.output_error for result in batch.results.all()} == {None}
        assert ids(batch.results.invalid_output()) == []
        invalidated(batch, "r-4")
        assert ids(batch.results.invalid_output()) == ["r-4"]

    def test_usable_results(self) -> None:
        batch = answered(ANSWERS)
        assert ids(batch.results.usable()) == ["r-0", "r-4"]
        invalidated(batch, "r-4")
        assert ids(batch.results.usable()) == ["r-0"]

    @pytest.mark.parametrize(
        "reason", slow_but(2, ["model_context_window_exceeded", "pause_turn", "End_turn", "tired", None, ""])
    )
    def test_an_answer_that_did_not_end_is_unfinished(self, settings: Any, reason: str | None) -> None:
        batch = answered({0: "good", 1: Reply("half", stop_reason=reason)})
        results = batch.results
        assert (ids(results.usable()), ids(results.unfinished())) == (["r-0"], ["r-1"])
        assert (ids(results.ended_early()), ids(results.succeeded())) == (["r-1"], ["r-0", "r-1"])
        assert (results.get(custom_id="r-1").outcome, results.get(custom_id="r-0").outcome) == (
            "unfinished",
            "succeeded",
        )
        assert results.filter(custom_id="r-1").latest_success() is None
        settings.CLAUDE_BATCHES = {**settings.CLAUDE_BATCHES, "WHOLE_STOP_REASONS": [reason or ""]}
        assert (ids(results.usable()), ids(results.unfinished())) == (["r-0", "r-1"], [])
        assert results.get(custom_id="r-1").outcome == "succeeded"

    @pytest.mark.parametrize("reason", ["end_turn", "stop_sequence", "tool_use"])
    def test_an_answer_with_a_whole_stop_reason_is_usable(self, reason: str) -> None:
        result = answered({0: Reply("good", stop_reason=reason)}).results.usable().get()
        assert (result.outcome, result.batch.results.ended_early().count()) == ("succeeded", 0)

    @pytest.mark.parametrize(
        "reason", slow_but(2, ["end_turn", "tool_use", "max_tokens", "refusal", "pause_turn", "TOOL_USE", "tired", ""])
    )
    def test_the_database_and_python_agree_on_each_outcome(self, reason: str) -> None:
        result = answered({0: Reply("x", stop_reason=reason)}).results.get()
        rows = BatchResult.objects
        found = {name for name in ("truncated", "refused", "unfinished") if getattr(rows, name)().exists()}
        found |= {"succeeded"} if rows.usable().exists() else set()
        assert found == {result.outcome}

    def test_of_a_kind(self) -> None:
        answered({0: "a"}, kind="tags")
        answered({0: "a", 1: "b"}, kind="moods")
        assert ids(BatchResult.objects.of_kind("moods")) == ["r-0", "r-1"]
        assert ids(BatchResult.objects.of_kind("others")) == []

    def test_the_latest_success_about_a_row(self) -> None:
        book, other = Book.objects.create(title="One"), Book.objects.create(title="Two")
        results = BatchResult.objects.of_kind("tags").for_target(book)
        assert results.latest_success() is None
        answered({0: Reply(stop_reason="refusal"), 1: Reply("cu", stop_reason="max_tokens")}, kind="tags", target=book)
        assert results.latest_success() is None
        first = answered({0: "first"}, kind="tags", target=book)
        answered({0: Failure()}, kind="tags", target=book)
        answered({0: "another kind"}, kind="moods", target=book)
        answered({0: "another row"}, kind="tags", target=other)
        assert getattr(results.latest_success(), "text", "") == "first"
        second = answered({0: "second"}, kind="tags", target=book)
        assert getattr(results.latest_success(), "text", "") == "second"
        invalidated(second, "r-0")
        assert results.latest_success() == first.results.get()


class TestOutputs:
    @pytest.fixture
    def results(self) -> Any:
        batch = answered(dict.fromkeys(range(5), "{}"))
        for result in batch.results.exclude(custom_id="r-4"):
            result.output = OUTPUTS[result.custom_id]
            result.save(update_fields=["output"])
        return batch.results.all()

    def test_outputs_are_stored_unchanged(self, results: Any) -> None:
        assert {result.custom_id: result.output for result in results} == {**OUTPUTS, "r-4": None}

    @pytest.mark.parametrize(
        ("lookup", "value", "found"),
        slow_but(
            2,
            [
                ("output__isnull", True, ["r-4"]),
                ("output__isnull", False, ["r-0", "r-1", "r-2", "r-3"]),
                ("output__sentiment", "good", ["r-0", "r-2"]),
                ("output__sentiment__in", ["so", "bad"], ["r-1", "r-3"]),
                ("output__sentiment__startswith", "go", ["r-0", "r-2"]),
                ("output__score", 4, ["r-0"]),
                ("output__score__gte", 3, ["r-0", "r-2", "r-3"]),
                ("output__score__lt", 2.75, ["r-1"]),
                ("output__tags__0", "quiet", ["r-0", "r-3"]),
                ("output__tags", [], ["r-1"]),
                ("output__has_key", "by", ["r-0", "r-2"]),
                ("output__by__isnull", True, ["r-1", "r-3", "r-4"]),
                ("output__by", None, ["r-2"]),
                ("output__by__name", "Ä😀", ["r-0"]),
            ],
        ),
    )
    def test_filters(self, results: Any, lookup: str, value: Any, found: list[str]) -> None:
        assert ids(results.filter(**{lookup: value})) == found

    @pytest.mark.parametrize(
        ("lookup", "value", "found"),
        [
            ("output__tags__contains", "quiet", ["r-0", "r-3"]),
            ("output__tags__contains", ["quiet", "cheap"], ["r-0"]),
            ("output__contains", {"sentiment": "good"}, ["r-0", "r-2"]),
        ],
    )
    def test_contains_lookups_where_they_are_supported(
        self, results: Any, lookup: str, value: Any, found: list[str]
    ) -> None:
        matching = results.filter(**{lookup: value})
        if connection.features.supports_json_field_contains:
            assert ids(matching) == found
        else:
            with pytest.raises(NotSupportedError):
                ids(matching)

    def test_a_text_in_a_list_on_every_database(self, results: Any) -> None:
        """The example in docs/reference/models.md."""
        assert ids(results.filter(output__tags__icontains='"quiet"')) == ["r-0", "r-3"]

    def test_outputs_are_sorted_by_a_number(self, results: Any) -> None:
        """The example in docs/reference/models.md. MariaDB sorts values from JSON as text, 10 before 3."""
        by_score = results.filter(output__score__isnull=False).order_by(Cast("output__score", FloatField()))
        assert [result.custom_id for result in by_score] == ["r-1", "r-3", "r-0", "r-2"]
