"""Each kind of failure, from the emulator's line to the next attempt's request."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType

from django_claude_batches import services
from django_claude_batches.models import (
    BatchRequest,
    BatchResult,
    DeliveryChunk,
    JobRun,
    MessageBatch,
    RunState,
    RunTotals,
)
from django_claude_batches.services.runs.drive import drive
from django_claude_batches.testing import ClaudeEmulator
from django_claude_batches.testing.emulator.replies import Reply
from django_claude_batches.testing.emulator.validation.params import Failure
from tests.harness.factories import make_due
from tests.harness.library.models import Review
from tests.harness.selections import slow_but
from tests.harness.shop import BAD, OVERLOADED, SCHEMA, deliver_all, effects, fetched, job, let_time_come, over, reviews

pytestmark = [pytest.mark.django_db, pytest.mark.database]

GOOD = '{"tags": ["fine"]}'


class Claude:
    """Answers a row's first calls as it was told, one after the other, and then with `GOOD`."""

    def __init__(self, *first: Any) -> None:
        self.first = first
        self.asked: list[dict[str, Any]] = []
        self._calls: Counter[str] = Counter()

    def __call__(self, params: dict[str, Any], custom_id: str) -> Any:
        self.asked.append(params)
        self._calls[custom_id] += 1
        number = self._calls[custom_id]
        return self.first[number - 1] if number <= len(self.first) else GOOD


class Watched:
    """What `on_failure` was called with."""

    def __init__(self) -> None:
        self.failures: list[tuple[int, str]] = []

    def members(self) -> dict[str, Any]:
        watched = self

        def on_failure(self: Any, review: Review, result: BatchResult) -> None:
            watched.failures.append((review.pk, result.outcome))

        return {"on_failure": on_failure}


def ran(claude: Claude, count: int = 1, **members: Any) -> tuple[JobRun, Watched]:
    watched = Watched()
    reviews(count)
    with ClaudeEmulator(seed=1, replies=claude) as emulator:
        run = over(job(**watched.members(), **members).start(), emulator)
    assert run.state == RunState.FINISHED, (run.last_error, run.pause_reason)
    return run, watched


BROKEN = Failure("api_error", "Internal server error", while_running=True)


class TestAsItIs:
    @pytest.mark.parametrize("failure", [OVERLOADED, BROKEN], ids=["overloaded_error", "api_error"])
    def test_of_the_server(self, failure: Failure) -> None:
        claude = Claude(failure)
        run, watched = ran(claude, 3)
        assert effects() == [1, 1, 1]
        assert claude.asked[:3] == claude.asked[3:]
        assert watched.failures == []
        first, second = run.batches.order_by("pk")
        assert (second.parent, first.run_attempt, second.run_attempt) == (first, 1, 2)
        assert (second.kind, second.label, second.account) == (first.kind, first.label, first.account)
        said = (request.custom_id, request.target) if (request := second.requests.first()) else None
        assert said == (first.requests.first().custom_id, first.requests.first().target)  # type: ignore[union-attr]

    @pytest.mark.slow
    def test_expired(self) -> None:
        reviews(3)
        with ClaudeEmulator(seed=1) as emulator:
            run = job().start()
            services.advance_run(run)
            emulator.expire(run.batches.get().anthropic_id)
            over(run, emulator)
        assert effects() == [1, 1, 1]
        assert DeliveryChunk.objects.order_by("pk").values_list("outcomes", flat=True)[0] == {"expired": 3}

    def test_missing(self) -> None:
        reviews(3)
        with ClaudeEmulator(seed=1) as emulator:
            run = job().start()
            emulator.fault("missing_line", times=5, line=2)
            rounds(run, emulator)
        assert run.state == RunState.FINISHED
        assert effects() == [1, 1, 1]
        first, second = run.batches.order_by("pk")
        assert (first.missing_count, second.request_count) == (1, 1)

    def test_only_what_failed_is_asked_again(self) -> None:
        rows = reviews(3)
        once = str(rows[1].pk)
        seen: Counter[str] = Counter()

        def replies(params: Any, custom_id: str) -> Any:
            seen[custom_id] += 1
            return OVERLOADED if custom_id == once and seen[custom_id] == 1 else "fine"

        with ClaudeEmulator(seed=1, replies=replies) as emulator:
            run = over(job().start(), emulator)
        assert [batch.request_count for batch in run.batches.order_by("pk")] == [3, 1]
        assert effects() == [1, 1, 1]


def rounds(run: JobRun, emulator: ClaudeEmulator) -> None:
    """Let the back-off of an incomplete download pass, too."""
    for _round in range(12):
        for batch in MessageBatch.objects.in_flight():
            make_due(batch)
        over(run, emulator, rounds=1)
        if not run.is_active:
            return


class TestTruncated:
    @pytest.mark.slow
    def test_with_twice_as_many_tokens_up_to_the_cap(self) -> None:
        cut = Reply("half", stop_reason="max_tokens")
        claude = Claude(cut, cut, cut, cut)
        _run, watched = ran(claude, max_tokens=100, max_tokens_cap=300, max_attempts=9)
        assert [params["max_tokens"] for params in claude.asked] == [100, 200, 300]
        assert [outcome for _pk, outcome in watched.failures] == ["truncated"]
        assert effects() == [0]

    def test_the_longer_answer_is_handed_over(self) -> None:
        _run, watched = ran(Claude(Reply("half", stop_reason="max_tokens")))
        assert (effects(), watched.failures) == ([1], [])


class TestInvalidOutput:
    def test_once_more_with_the_validators_words(self) -> None:
        claude = Claude('{"tags": 3}')
        _run, watched = ran(claude, output_schema=SCHEMA)
        assert (effects(), watched.failures) == ([1], [])
        asked, corrected = (params["messages"] for params in claude.asked)
        assert corrected[:1] == asked
        assert corrected[1] == {"role": "assistant", "content": '{"tags": 3}'}
        assert corrected[2]["role"] == "user"
        assert "$.tags: 3 is not of type 'array'" in corrected[2]["content"]

    @pytest.mark.slow
    def test_an_empty_answer_is_not_quoted(self) -> None:
        claude = Claude("")
        ran(claude, output_schema=SCHEMA)
        assert [message["role"] for message in claude.asked[1]["messages"]] == ["user", "user"]
        assert "there is no text" in claude.asked[1]["messages"][1]["content"]

    @pytest.mark.slow
    def test_not_a_second_time(self) -> None:
        claude = Claude("no", "no", "no")
        _run, watched = ran(claude, output_schema=SCHEMA, max_attempts=9)
        assert len(claude.asked) == 2
        assert [outcome for _pk, outcome in watched.failures] == ["invalid_output"]

    @pytest.mark.slow
    def test_not_a_second_time_after_another_failure_either(self) -> None:
        claude = Claude("no", OVERLOADED, "no", "no")
        _run, watched = ran(claude, output_schema=SCHEMA, max_attempts=9)
        assert len(claude.asked) == 3
        assert claude.asked[1] == claude.asked[2]
        assert [outcome for _pk, outcome in watched.failures] == ["invalid_output"]


@pytest.mark.parametrize(
    ("reply", "outcome"),
    slow_but(
        2,
        [
            (BAD, "errored"),
            (Reply("", content=[], stop_reason="refusal"), "refused"),
            (Reply("half", stop_reason="pause_turn"), "unfinished"),
            (Reply("half", stop_reason=None), "unfinished"),
        ],
    ),
    ids=["invalid_request", "refusal", "pause_turn", "no stop reason"],
)
def test_what_is_not_tried_again_by_itself(reply: Any, outcome: str) -> None:
    claude = Claude(reply)
    run, watched = ran(claude)
    assert (len(claude.asked), [said for _pk, said in watched.failures]) == (1, [outcome])
    chunk = DeliveryChunk.objects.get()
    assert (chunk.failed, chunk.failed_count, chunk.outcomes) == ([[0, outcome]], 1, {outcome: 1})
    assert run.batches.count() == 1


def test_canceled_is_not_tried_again_by_itself(claude: ClaudeEmulator) -> None:
    reviews(2)
    watched = Watched()
    run = services.advance_run(job(**watched.members()).start())
    services.cancel(run.batches.get())
    over(run, claude)
    assert (run.state, run.batches.count()) == (RunState.FINISHED, 1)
    assert [outcome for _pk, outcome in watched.failures] == ["canceled", "canceled"]


@pytest.mark.slow
def test_what_fails_while_results_are_fetched_again_is_asked_again() -> None:
    reviews(2)
    with ClaudeEmulator(seed=1, replies=Claude(OVERLOADED)) as emulator:
        run = job().start()
        (batch,) = fetched(run, emulator)
        services.reingest(batch)
        deliver_all()
        over(run, emulator)
    assert (run.state, effects()) == (RunState.FINISHED, [1, 1])


@pytest.mark.slow
@pytest.mark.parametrize("attempts", slow_but(2, [1, 2, 3]))
def test_no_more_often_than_max_attempts(attempts: int) -> None:
    claude = Claude(*[OVERLOADED] * 9)
    run, watched = ran(claude, 2, max_attempts=attempts)
    assert len(claude.asked) == 2 * attempts
    assert [outcome for _pk, outcome in watched.failures] == ["errored"] * 2
    assert list(run.batches.order_by("pk").values_list("run_attempt", flat=True)) == list(range(1, attempts + 1))


def test_a_job_without_schema_takes_any_text() -> None:
    _run, watched = ran(Claude("no JSON at all"))
    assert (effects(), watched.failures) == ([1], [])


@pytest.mark.slow
def test_each_attempts_tokens_and_cost_count() -> None:
    unfit = Reply("no", usage={"input_tokens": 1000, "output_tokens": 100})
    fit = Reply(GOOD, usage={"input_tokens": 3000, "output_tokens": 50})
    run, _watched = ran(Claude(OVERLOADED, unfit, fit), output_schema=SCHEMA)
    totals = RunTotals.of(run)
    assert (totals.requests, totals.outcomes["invalid_output"]) == ({1: 1, 2: 1, 3: 1}, 1)
    assert (totals.usage["input_tokens"], totals.usage["output_tokens"]) == (4000, 150)
    assert totals.cost_usd == Decimal("0.002375")  # half of 1 and 5 USD for a million
    costs = run.batches.order_by("pk").values_list("cost_usd", flat=True)
    assert list(costs) == [Decimal(0), Decimal("0.00075"), Decimal("0.001625")]


@pytest.mark.slow
def test_targets_and_betas_are_kept() -> None:
    _run, _watched = ran(Claude(OVERLOADED), betas=["context-1m-2025-08-07"])
    first, second = MessageBatch.objects.order_by("pk")
    assert second.betas == first.betas == ["context-1m-2025-08-07"]
    kept = {"content_type": ContentType.objects.get_for_model(Review), "object_id": str(Review.objects.get().pk)}
    assert BatchRequest.objects.filter(**kept).count() == 2


def test_a_process_that_is_late_after_the_last_delivery_leaves_no_batch_open() -> None:
    """Where a person has rows of a delivered batch asked again, nothing but their marks says that it goes on."""
    claude = Claude(Reply("cut", stop_reason="max_tokens"))

    def more_tokens(self: Any, max_tokens: int) -> int:
        JobRun.objects.update(lease_token="another")  # which has the run from here on
        return 2 * max_tokens

    reviews(3)
    with ClaudeEmulator(seed=1, replies=claude) as emulator:
        run = over(job(more_tokens=more_tokens, max_attempts=1).start(), emulator)
        assert (run.state, services.retry_run(run)) == (RunState.FINISHED, 3)
        drive(run.pk)
        child = run.batches.get(run_attempt=2)
        assert (child.request_count, child.is_filling) == (3, False)
        let_time_come()
        over(run, emulator)
    assert (run.state, effects()) == (RunState.FINISHED, [1] * 3)


def test_what_is_asked_again_is_drafted_delivery_by_delivery() -> None:
    """A process that dies between two of them leaves a batch open, to which the next one adds the rest."""
    claude = Claude(Reply("cut", stop_reason="max_tokens"))
    left: list[int] = []

    def more_tokens(self: Any, max_tokens: int) -> int:
        if left and not left.pop():
            raise RuntimeError("The process dies here.")
        return 2 * max_tokens

    reviews(5)
    with ClaudeEmulator(seed=1, replies=claude) as emulator:
        run = job(more_tokens=more_tokens).start()
        fetched(run, emulator)
        first = DeliveryChunk.objects.get()
        DeliveryChunk.objects.filter(pk=first.pk).update(last_position=2)
        first.pk, first.position = None, 3
        first.save(force_insert=True)
        deliver_all()
        left[:] = [0, 1, 1, 1, 1]  # the fifth call, of the second delivery
        with pytest.raises(RuntimeError):
            drive(run.pk)
        child = run.batches.get(run_attempt=2)
        assert (child.request_count, child.is_filling, child.requests.count()) == (3, True, 3)
        let_time_come()
        over(run, emulator)
    assert run.state == RunState.FINISHED, (run.last_error, run.pause_reason)
    assert effects() == [1] * 5
    child = run.batches.get(run_attempt=2)
    assert (child.request_count, child.is_filling, child.requests.count()) == (5, False, 5)
