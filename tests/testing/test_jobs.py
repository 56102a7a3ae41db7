"""`run_job`: a job's run succeeds in a test, or the error says why not."""

from __future__ import annotations

from typing import Any

import pytest

from django_claude_batches.models import FailedDelivery, JobRun, MessageBatch, RunState
from django_claude_batches.testing import ClaudeEmulator, EmulatorProcess, Failure, always, scripted
from django_claude_batches.testing.jobs import RunFailed, run_job
from tests.harness.library.models import Review
from tests.harness.shop import SCHEMA, job, reviews

pytestmark = pytest.mark.django_db


def raising(self: Any, review: Review, result: Any) -> None:
    raise LookupError(f"no tag for {review.pk}")


def test_a_job_is_tested_in_five_lines() -> None:
    reviews(3)
    run = run_job(job(), replies=always("warm"), label="of a test")
    assert (run.state, run.row_count, run.label) == (RunState.FINISHED, 3, "of a test")
    assert list(Review.objects.values_list("tags", "effects")) == [("warm", 1)] * 3


README_SCHEMA = {
    "type": "object",
    "properties": {"tags": {"type": "array", "items": {"type": "string"}, "minItems": 1}},
    "required": ["tags"],
}


def test_the_readmes_job_gets_tags_at_once_without_replies() -> None:
    reviews(2)

    def on_result(self: Any, review: Review, result: Any) -> None:
        review.tags = ", ".join(result.output["tags"])
        review.save(update_fields=["tags"])

    run = run_job(job(on_result=on_result, output_schema=README_SCHEMA))
    assert run.batches.count() == 1
    assert not Review.objects.filter(tags="").exists()


def test_replies_know_a_row_by_its_key() -> None:
    first, second = reviews(2)
    wire_ids: set[str] = set()

    def replies(params: dict[str, Any], custom_id: str, wire_id: str) -> str:
        wire_ids.add(wire_id)
        return f"of {custom_id}"

    run_job(job(), replies=replies)
    assert [row.tags for row in Review.objects.order_by("pk")] == [f"of {first.pk}", f"of {second.pk}"]
    [tag] = {wire_id.partition("_")[0] for wire_id in wire_ids}
    assert wire_ids == {f"{tag}_{first.pk}", f"{tag}_{second.pk}"}


def test_an_emulator_can_be_passed(claude: ClaudeEmulator) -> None:
    reviews(1)
    run_job(job(), claude)
    assert len(claude.batches) == 1
    assert Review.objects.get().tags.startswith("Tag this review")


@pytest.mark.process
def test_the_emulator_can_be_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    reviews(1)
    with EmulatorProcess() as claude:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", claude.url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", claude.api_key)
        assert run_job(job(), claude).state == RunState.FINISHED


def test_an_emulator_and_replies_together_are_refused(claude: ClaudeEmulator) -> None:
    with pytest.raises(TypeError, match="not both"):
        run_job(job(), claude, replies=always("warm"))


def test_retries_are_taken_too() -> None:
    """An answer that does not fit the schema is asked for again, with the validator's message."""
    [review] = reviews(1)

    def replies(params: dict[str, Any], custom_id: str) -> Any:
        return {"tags": ["warm"]} if len(params["messages"]) > 1 else "Warm, I would say."

    run = run_job(job(output_schema=SCHEMA), replies=replies)
    assert list(MessageBatch.objects.filter(run=run).values_list("run_attempt", flat=True)) == [1, 2]
    review.refresh_from_db()
    assert (review.tags, review.effects) == ('{"tags": ["warm"]}', 1)


@pytest.mark.slow
def test_more_rows_than_the_queue_takes(settings: Any) -> None:
    settings.CLAUDE_BATCHES = {"KICK": False, "MAX_IN_FLIGHT_REQUESTS": 2}
    reviews(11)
    run = run_job(job())
    assert (run.state, run.batches.count()) == (RunState.FINISHED, 6)


def test_a_job_without_rows_is_not_a_failure() -> None:
    assert run_job(job()).row_count == 0


@pytest.mark.slow
def test_failed_rows_are_not_a_failure_of_the_job(claude: ClaudeEmulator) -> None:
    failed: list[str] = []
    kept = job(on_failure=lambda self, review, result: failed.append(result.outcome))
    reviews(2)
    run = run_job(kept, replies=scripted({0: Failure()}, otherwise=always("warm")))
    assert (run.state, failed, Review.objects.exclude(tags="").count()) == (RunState.FINISHED, ["errored"], 1)


def test_what_a_handler_raised_is_shown() -> None:
    first = reviews(2)[0]
    with pytest.raises(RunFailed) as told:
        run_job(job(on_result=raising))
    assert "a handler raised for 2 rows. The first:\nLookupError at tests.testing.test_jobs, line " in str(told.value)
    assert f"LookupError: no tag for {first.pk}" in str(told.value)
    assert "in raising" in str(told.value)


def test_failed_deliveries_can_be_allowed() -> None:
    reviews(2)
    run = run_job(job(on_result=raising), allow_failed_deliveries=True)
    assert run.state == RunState.FINISHED
    assert FailedDelivery.objects.count() == 2


def test_what_on_finished_raised_is_shown() -> None:
    def on_finished(self: Any, run: JobRun) -> None:
        raise LookupError("nobody to tell")

    with pytest.raises(RunFailed, match=r"(?s)on_finished raised.*LookupError: nobody to tell"):
        run_job(job(on_finished=on_finished))


def test_a_row_that_cannot_be_asked_is_named() -> None:
    [review] = reviews(1)

    def get_prompt(self: Any, review: Review) -> str:
        raise LookupError("no text")

    with pytest.raises(RunFailed, match=rf"(?s)was paused: library.Review {review.pk}: .*LookupError: no text"):
        run_job(job(get_prompt=get_prompt))


def test_a_refused_batch_is_reported_with_the_apis_message() -> None:
    reviews(2)
    with ClaudeEmulator(max_requests=1) as claude, pytest.raises(RunFailed) as told:
        run_job(job(), claude)
    assert "is stuck. Batch " in str(told.value)
    assert ': Refused by Anthropic. Nothing ran. "' in str(told.value)


def test_an_account_that_sends_nothing_says_why(claude: ClaudeEmulator) -> None:
    claude.fault("key_refused", times=None)
    reviews(1)
    with pytest.raises(RunFailed, match=r'is stuck\. Account "default" is paused: .*API key'):
        run_job(job(), claude)


def test_nothing_is_sent_to_another_host(settings: Any) -> None:
    account = {"API_KEY": "sk-ant-of-a-person", "BASE_URL": "https://api.anthropic.com"}
    settings.CLAUDE_BATCHES = {"KICK": False, "ACCOUNTS": {"default": account}}
    reviews(1)
    with pytest.raises(RunFailed, match=r'^Nothing was sent: account "default" is at https://api\.anthropic\.com'):
        run_job(job())
    assert not JobRun.objects.exists()
