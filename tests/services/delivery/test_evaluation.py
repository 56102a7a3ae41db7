"""What an answer is read as, and where that stands after the delivery."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, field_validator

from django_claude_batches.models import BatchResult, DeliveryChunk, FailedDelivery, RunState
from django_claude_batches.testing import ClaudeEmulator
from django_claude_batches.testing.emulator.replies import Reply
from tests.harness.library.models import Review
from tests.harness.selections import slow_but
from tests.harness.shop import SCHEMA, job, over, reviews

pytestmark = [pytest.mark.django_db, pytest.mark.database]


class Tags(BaseModel):
    tags: list[str]


class Broken(BaseModel):
    tags: list[str]

    @field_validator("tags")
    @classmethod
    def look(cls, tags: list[str]) -> list[str]:
        raise LookupError("the validator's own fault")


def ran(answer: Any, **members: Any) -> tuple[BatchResult, list[Any]]:
    """Have one row answered so, asked once; give the result, and what the handler was shown."""
    seen: list[Any] = []

    def on_result(self: Any, review: Review, result: Any) -> None:
        seen.append(("result", result.output, result.parsed_output))

    def on_failure(self: Any, review: Review, result: Any) -> None:
        seen.append(("failure", result.outcome))

    reviews(1)
    handlers = {"on_result": on_result, "on_failure": on_failure, "max_attempts": 1}
    with ClaudeEmulator(seed=1, replies=lambda params, custom_id: answer) as claude:
        run = over(job(**handlers, **members).start(), claude)
    assert run.state == RunState.FINISHED, run.pause_reason
    return BatchResult.objects.get(), seen


VALID = '{"tags": ["a", "b"]}'


@pytest.mark.parametrize("text", slow_but(2, [VALID, f"\n {VALID} \n", f"```json\n{VALID}\n```", f"```\n{VALID}\n```"]))
def test_valid(text: str) -> None:
    result, seen = ran(text, output_schema=SCHEMA)
    assert (result.output, result.output_error) == ({"tags": ["a", "b"]}, None)
    assert seen == [("result", {"tags": ["a", "b"]}, {"tags": ["a", "b"]})]
    assert BatchResult.objects.filter(output__tags__0="a").count() == 1


def test_by_a_pydantic_model() -> None:
    result, seen = ran(VALID, output_schema=Tags)
    assert result.output == {"tags": ["a", "b"]}
    assert seen == [("result", {"tags": ["a", "b"]}, Tags(tags=["a", "b"]))]


@pytest.mark.parametrize(
    ("text", "schema", "said"),
    slow_but(
        2,
        [
            ('{"tags": 3}', SCHEMA, "$.tags: 3 is not of type 'array'"),
            ('{"tags": 3}', Tags, "tags"),
            ("Here you are: " + VALID, SCHEMA, "not JSON"),
            ("", SCHEMA, "there is no text"),
            ('{"tags": [], "tags": []}', SCHEMA, "twice"),
        ],
    ),
)
def test_invalid(text: str, schema: Any, said: str) -> None:
    result, seen = ran(text, output_schema=schema)
    assert result.output is None
    assert said in (result.output_error or "")
    assert result.outcome == "invalid_output"
    assert seen == [("failure", "invalid_output")]
    assert DeliveryChunk.objects.get().failed == [[0, "invalid_output"]]


@pytest.mark.parametrize(
    ("reply", "outcome"),
    slow_but(
        1,
        [
            (Reply('{"tags": ["a"', stop_reason="max_tokens"), "truncated"),
            (Reply(VALID, stop_reason="max_tokens"), "truncated"),
            (Reply(content=[], stop_reason="refusal"), "refused"),
        ],
    ),
)
def test_an_answer_that_ended_early_is_no_success(reply: Reply, outcome: str) -> None:
    result, seen = ran(reply, output_schema=SCHEMA)
    assert (result.output, result.output_error, result.outcome) == (None, None, outcome)
    assert seen == [("failure", outcome)]


def test_without_a_schema_nothing_is_read() -> None:
    result, seen = ran(VALID)
    assert (result.output, result.output_error) == (None, None)
    assert seen == [("result", None, None)]


def test_what_a_database_cannot_hold() -> None:
    r"""JSON may say \u0000, which PostgreSQL refuses, and half of a surrogate pair, which UTF-8 has no bytes for."""
    text = '{"tags": ["a\\u0000b", "c\\ud800d"]}'
    result, seen = ran(text, output_schema=SCHEMA)
    assert result.output == {"tags": ["a\ufffdb", "c\ufffdd"]}
    assert len(seen) == 1


def test_what_a_database_cannot_hold_in_an_error() -> None:
    result, _seen = ran('{"tags": "a\\u0000b\\ud800"}', output_schema=SCHEMA)
    assert result.output_error is not None
    assert "\0" not in result.output_error
    assert "is not of type 'array'" in result.output_error


def test_a_validator_that_is_broken_parks_its_row() -> None:
    result, seen = ran(VALID, output_schema=Broken)
    assert seen == []
    assert result.output is None
    parked = FailedDelivery.objects.get()
    assert (parked.outcome, parked.error) == ("succeeded", "LookupError: the validator's own fault")
