"""What people want of a run, in each of its states."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models import F, Q
from django.utils import timezone

from django_claude_batches import job_registry, services
from django_claude_batches.exceptions import AlreadyRunning, ClaudeBatchesError, InvalidTransition, UnknownJob
from django_claude_batches.models import BatchResult, DeliveryChunk, JobRun, MessageBatch, RunState, RunTotals, State
from django_claude_batches.services.runs.drive import drive
from django_claude_batches.services.runs.follow_up import follow_up
from django_claude_batches.services.runs.throttle import submit_pending
from django_claude_batches.testing import ClaudeEmulator, Reply
from tests.harness.factories import in_state, item
from tests.harness.library.models import Review
from tests.harness.selections import slow_but
from tests.harness.shop import BAD, OVERLOADED, SCHEMA, deliver_all, effects, fetched, job, over, reviews

pytestmark = [pytest.mark.django_db, pytest.mark.database]

STANDINGS = ("drafting", "running", "paused", "canceling", "finished", "canceled")


def standing(name: str) -> JobRun:
    """A run that stands so, without having lived."""
    run = job().start()
    if name == "paused":
        assert run.pause("for a test")
    elif name != "drafting":
        over_now = name in ("finished", "canceled")
        changes: dict[str, Any] = {"next_action_at": None, "exclusive": None} if over_now else {}
        JobRun.objects.filter(pk=run.pk).update(state=name, **changes)
        run.refresh_from_db()
    return run


def seen(run: JobRun) -> str:
    run.refresh_from_db()
    return "paused" if run.is_paused else str(run.state)


@pytest.mark.parametrize(
    ("wish", "results"),
    [
        (services.pause_run, ("paused", "paused", "paused", "paused", InvalidTransition, InvalidTransition)),
        (services.resume_run, ("drafting", "running", "drafting", "canceling", InvalidTransition, InvalidTransition)),
        (services.cancel_run, ("canceling", "canceling", "canceling", "canceling", InvalidTransition, "canceled")),
        # None of these has a row that failed.
        (
            services.retry_run,
            (
                InvalidTransition,
                ClaudeBatchesError,
                InvalidTransition,
                InvalidTransition,
                ClaudeBatchesError,
                InvalidTransition,
            ),
        ),
        (services.redeliver_failed, STANDINGS),
    ],
)
def test_each_wish_in_each_state(wish: Callable[[JobRun], object], results: tuple[Any, ...]) -> None:
    for name, result in zip(STANDINGS, results, strict=True):
        run = standing(name)
        if isinstance(result, str):
            wish(run)
            assert seen(run) == result, name
            wish(run)
            assert seen(run) == result, f"{name}, again"
        else:
            with pytest.raises(result) as caught:
                wish(run)
            assert type(caught.value) is result, name
            assert (run.state, seen(run)) == ("drafting" if name == "paused" else name, name)
        JobRun.objects.all().update(exclusive=None)


class TestPause:
    def test_nothing_is_handed_out_meanwhile(self, claude: ClaudeEmulator) -> None:
        reviews(3)
        run = job().start()
        fetched(run, claude)
        services.pause_run(run, by="ada")
        assert run.pause_reason == "Paused by ada."
        deliver_all()
        services.advance_run(run)
        assert (effects(), DeliveryChunk.objects.get().failures) == ([0, 0, 0], 0)
        over(services.resume_run(run), claude)
        assert (run.state, effects()) == (RunState.FINISHED, [1, 1, 1])

    def test_it_stops_between_two_transactions(
        self, claude: ClaudeEmulator, pass_time: Callable[[float], None]
    ) -> None:
        reviews(3)

        def on_result(self: Any, review: Review, result: Any) -> None:
            pass_time(11)  # so that a transaction has one row
            JobRun.objects.get().pause("for a test")
            Review.objects.filter(pk=review.pk).update(effects=F("effects") + 1)

        run = job(on_result=on_result).start()
        fetched(run, claude)
        deliver_all()
        chunk = DeliveryChunk.objects.get()
        assert (effects(), chunk.position, chunk.lease_token) == ([1, 0, 0], 1, "")
        services.resume_run(run)
        deliver_all()
        assert effects() == [1, 1, 0]
        job()
        over(services.resume_run(run), claude)
        assert (run.state, effects()) == (RunState.FINISHED, [1, 1, 1])

    @pytest.mark.slow
    def test_it_stops_between_two_chunks(self, claude: ClaudeEmulator) -> None:
        reviews(1001)
        pks: list[int] = []

        def on_result(self: Any, review: Review, result: Any) -> None:
            if not pks:
                pks.append(review.pk)
                JobRun.objects.get().pause("for a test")
            Review.objects.filter(pk=review.pk).update(effects=1)

        run = job(on_result=on_result).start()
        fetched(run, claude)
        deliver_all()
        assert sum(effects()) == 1000
        over(services.resume_run(run), claude)
        assert sum(effects()) == 1001


class TestCancel:
    @pytest.fixture
    def overloaded(self) -> Iterator[ClaudeEmulator]:
        with ClaudeEmulator(seed=1, replies=lambda params, custom_id: OVERLOADED) as emulator:
            yield emulator

    def test_what_was_to_be_asked_again_fails_once(self, overloaded: ClaudeEmulator) -> None:
        reviews(3)
        calls: list[tuple[int, str]] = []

        def on_failure(self: Any, review: Review, result: Any) -> None:
            calls.append((review.pk, result.outcome))

        run = job(on_failure=on_failure).start()
        fetched(run, overloaded)
        deliver_all()
        assert (calls, len(DeliveryChunk.objects.get().to_retry)) == ([], 3)
        services.cancel_run(run)
        over(run, overloaded)
        assert run.state == RunState.CANCELED
        assert [outcome for _pk, outcome in calls] == ["errored"] * 3
        assert run.batches.count() == 1
        first, abandoned = DeliveryChunk.objects.order_by("pk")
        assert (first.to_retry, first.failed_count) == ([], 0)
        assert (abandoned.mode, abandoned.failed_count) == ("no_retry", 3)

    def test_it_counts_also_just_before_they_are_drafted(self, overloaded: ClaudeEmulator) -> None:
        """The run as a process read it is not the run that it locks."""
        reviews(3)
        run = job().start()
        (batch,) = fetched(run, overloaded)
        deliver_all()
        token = JobRun.objects.acquire(run.pk)
        as_read = JobRun.objects.get()
        services.cancel_run(JobRun.objects.get())
        assert follow_up(as_read, batch, token or "", job_registry.find("tag-reviews"))  # type: ignore[arg-type]
        assert (run.batches.count(), DeliveryChunk.objects.filter(mode="no_retry").count()) == (1, 1)

    def test_what_is_at_anthropic_is_canceled_and_nothing_else_is_sent(
        self, claude: ClaudeEmulator, settings: Any
    ) -> None:
        settings.CLAUDE_BATCHES = {"KICK": False, "MAX_IN_FLIGHT_REQUESTS": 4}
        reviews(6)
        told: list[tuple[int, str]] = []

        def get_betas(self: Any, review: Review) -> list[str]:
            return [f"beta-{review.pk % 3}"]

        def on_failure(self: Any, review: Review, result: Any) -> None:
            told.append((review.pk, result.outcome))

        run = job(get_betas=get_betas, on_failure=on_failure).start()
        drive(run.pk)
        assert submit_pending() == 2
        sent, queued, ready = run.batches.order_by("pk")
        services.advance(sent)
        services.cancel_run(run, by=User.objects.create(username="ada"))
        over(run, claude)
        calls = [(each.method, each.path) for each in claude.requests if each.method == "POST"]
        assert calls == [("POST", "/v1/messages/batches"), ("POST", f"/v1/messages/batches/{sent.anthropic_id}/cancel")]
        assert run.state == RunState.CANCELED
        for batch in (queued, ready):
            batch.refresh_from_db()
            assert (batch.state, batch.next_action_at) == (State.DRAFT, None)
        assert queued.events.get(what="taken_back").by_name == "ada"
        assert sorted(told) == sorted((int(pk), "canceled") for pk in sent.requests.values_list("object_id", flat=True))
        assert (len(told), effects()) == (2, [0] * 6)

    def test_what_comes_all_the_same_is_delivered(self, claude: ClaudeEmulator) -> None:
        reviews(3)
        run = services.advance_run(job().start())
        claude.finish()
        services.cancel_run(run)
        over(run, claude)
        assert (run.state, effects()) == (RunState.CANCELED, [1, 1, 1])


class TestRetry:
    @pytest.mark.slow
    def test_two_clicks_are_one_attempt(self) -> None:
        reviews(3)
        with ClaudeEmulator(seed=1, replies=lambda params, custom_id: BAD) as claude:
            run = over(job().start(), claude)
        assert (run.state, DeliveryChunk.objects.get().failed_count) == (RunState.FINISHED, 3)
        assert services.retry_run(run) == 3
        assert (run.state, run.finished_at) == (RunState.RUNNING, None)
        with pytest.raises(ClaudeBatchesError, match="nothing to retry"):
            services.retry_run(run)
        with ClaudeEmulator(seed=2) as claude:
            over(run, claude)
        assert (run.state, effects()) == (RunState.FINISHED, [1, 1, 1])
        assert [batch.request_count for batch in run.batches.order_by("pk")] == [3, 3]
        with pytest.raises(ClaudeBatchesError, match="nothing to retry"):
            services.retry_run(run)
        assert run.state == RunState.FINISHED

    def test_a_worker_drafts_what_is_asked_again(self, django_assert_max_num_queries: Any) -> None:
        fine = reviews(30)[0]

        def replies(params: Any, custom_id: str) -> Any:
            return "fine" if custom_id == str(fine.pk) else BAD

        with ClaudeEmulator(seed=1, replies=replies) as claude:
            run = over(job().start(), claude)
        batch = run.batches.get()
        with django_assert_max_num_queries(14):  # however many rows
            assert services.retry_run(run) == 29
        assert run.batches.get() == batch
        assert RunTotals.of(run).to_retry == 29
        assert BatchResult.objects.for_target(fine).latest_success() is not None, "it is as good as it was"
        with pytest.raises(InvalidTransition, match="its run is about to ask rows of it again"):
            batch.delete()
        services.pause_run(run)
        drive(run.pk)
        assert run.batches.count() == 1
        services.resume_run(run)
        drive(run.pk)
        [_first, second] = run.batches.order_by("pk")
        assert (second.request_count, second.parent, second.run_attempt) == (29, batch, 2)
        assert not DeliveryChunk.objects.to_follow_up().exists()

    def test_a_run_that_is_canceled_before_they_are_drafted_has_failed_with_them(self) -> None:
        reviews(3)
        failures: list[str] = []

        def on_failure(self: Any, review: Review, result: Any) -> None:
            failures.append(result.outcome)

        with ClaudeEmulator(seed=1, replies=lambda params, custom_id: BAD) as claude:
            run = over(job(on_failure=on_failure).start(), claude)
            services.retry_run(run)
            over(services.cancel_run(run), claude)
        assert (run.state, failures, run.batches.count()) == (RunState.CANCELED, ["errored"] * 6, 1)
        totals = RunTotals.of(run)
        assert (totals.failed, totals.to_retry) == (3, 0)

    @pytest.mark.slow
    def test_a_run_that_is_canceled_is_over_when_the_last_row_has_failed(self) -> None:
        reviews(3)
        told: list[str] = []

        def on_failure(self: Any, review: Review, result: Any) -> None:
            told.append("failure")

        def on_finished(self: Any, run: JobRun) -> None:
            told.append(run.state)

        with ClaudeEmulator(seed=1, replies=lambda params, custom_id: BAD) as claude:
            run = over(job(on_failure=on_failure, on_finished=on_finished).start(), claude)
        told.clear()
        services.retry_run(run)
        services.cancel_run(run)
        drive(run.pk)
        assert (seen(run), told) == ("canceling", [])
        deliver_all()
        drive(run.pk)
        assert (seen(run), told) == ("canceled", ["failure"] * 3 + ["canceled"])

    def test_while_the_results_are_fetched_again_its_batch_is_not_followed_up(self) -> None:
        reviews(3)
        with ClaudeEmulator(seed=1, replies=lambda params, custom_id: BAD) as claude:
            run = over(job().start(), claude)
            batch = services.reingest(run.batches.get())
            assert services.retry_run(run) == 3
            drive(run.pk)
            run.refresh_from_db()
            assert (run.state, run.batches.count()) == (RunState.RUNNING, 1)
            services.advance(batch)
            drive(run.pk)
        assert [batch.request_count for batch in run.batches.order_by("pk")] == [3, 3]

    @pytest.mark.slow
    def test_some_outcomes_only_each_with_its_change(self) -> None:
        cut, unfit, bad = (str(row.pk) for row in reviews(3))
        first = {cut: Reply('{"tags":', stop_reason="max_tokens"), unfit: '{"tags": 3}', bad: BAD}
        asked: list[tuple[str, dict[str, Any]]] = []

        def replies(params: Any, custom_id: str) -> Any:
            asked.append((custom_id, params))
            return first.pop(custom_id, '{"tags": []}')

        def failed() -> list[Any]:
            return DeliveryChunk.objects.earliest("pk").failed

        with ClaudeEmulator(seed=1, replies=replies) as claude:
            run = over(job(max_attempts=1, output_schema=SCHEMA, max_tokens=100).start(), claude)
            assert failed() == [[0, "truncated"], [1, "invalid_output"], [2, "errored"]]
            before = dict(asked)
            with pytest.raises(ClaudeBatchesError, match="no row that failed so"):
                services.retry_run(run, outcomes=["expired"])

            assert services.retry_run(run, outcomes=["truncated"]) == 1
            over(run, claude)
            assert asked[3:] == [(cut, {**before[cut], "max_tokens": 200})]
            assert (failed(), effects()) == ([[1, "invalid_output"], [2, "errored"]], [1, 0, 0])

            assert services.retry_run(run, outcomes=["invalid_output", "refused"]) == 1
            over(run, claude)
            [(pk, params)] = asked[4:]
            *messages, answer, words = params["messages"]
            assert (pk, messages) == (unfit, before[unfit]["messages"])
            assert answer == {"role": "assistant", "content": '{"tags": 3}'}
            assert "$.tags: 3 is not of type 'array'" in words["content"]
            assert (failed(), effects()) == ([[2, "errored"]], [1, 1, 0])

            assert services.retry_run(run) == 1
            over(run, claude)
            assert asked[5:] == [(bad, before[bad])]
            assert (run.state, failed(), effects()) == (RunState.FINISHED, [], [1, 1, 1])

    @pytest.mark.slow
    def test_never_a_row_that_succeeded_in_a_child(self) -> None:
        reviews(4)
        calls: list[str] = []

        def replies(params: Any, custom_id: str) -> Any:
            calls.append(custom_id)
            return OVERLOADED if len(calls) <= 4 else "fine"

        with ClaudeEmulator(seed=1, replies=replies) as claude:
            run = over(job().start(), claude)
        assert (run.state, effects(), run.batches.count()) == (RunState.FINISHED, [1] * 4, 2)
        with pytest.raises(ClaudeBatchesError, match="nothing to retry"):
            services.retry_run(run)

    def test_not_what_another_process_is_at(self) -> None:
        """A chunk that is not done is written whole by its process: what was taken out would come back."""
        reviews(2)
        with ClaudeEmulator(seed=1, replies=lambda params, custom_id: BAD) as claude:
            run = job().start()
            fetched(run, claude)
            drive(run.pk)
            DeliveryChunk.objects.update(failed=[[0, "errored"]], failed_count=1)
            with pytest.raises(ClaudeBatchesError, match="nothing to retry"):
                services.retry_run(run)

    def test_a_batch_of_a_run_is_not_retried_on_its_own(self) -> None:
        reviews(2)
        with ClaudeEmulator(seed=1, replies=lambda params, custom_id: BAD) as claude:
            run = over(job().start(), claude)
        with pytest.raises(InvalidTransition, match="belongs to a run"):
            services.retry(run.batches.get())

    @pytest.mark.slow
    def test_on_finished_comes_again(self) -> None:
        reviews(1)
        ends: list[int] = []

        def on_finished(self: Any, run: JobRun) -> None:
            ends.append(run.pk)

        with ClaudeEmulator(seed=1, replies=lambda params, custom_id: BAD) as claude:
            run = over(job(on_finished=on_finished).start(), claude)
            services.retry_run(run)
            over(run, claude)
        assert ends == [run.pk, run.pk]


STRICT, LENIENT = {"type": "object", "required": ["mood"]}, {"type": "object"}
TAGS = '{"tags": []}'
"""What the one refuses, and the other does not."""


def raising(self: Any, review: Review, result: Any) -> None:
    raise LookupError


def counted(run: JobRun) -> tuple[int, int, int, int]:
    """Deliver what is due, and give the rows that are delivered, failed, parked and gone."""
    deliver_all()
    totals = RunTotals.of(run)
    return totals.delivered, totals.failed, totals.failed_deliveries, totals.gone


def failed_and_raised_at() -> JobRun:
    """A run whose rows failed for good, fit by the code of now, and are parked since that raised."""
    reviews(2)
    with ClaudeEmulator(seed=1, replies=lambda params, custom_id: TAGS) as claude:
        run = over(job(output_schema=STRICT, max_attempts=1).start(), claude)
    job(output_schema=LENIENT, on_result=raising)
    services.redeliver(run.batches.get())
    assert counted(run) == (0, 2, 2, 0)
    return run


class TestRedeliver:
    def test_usable_answers_only(self) -> None:
        bad = str(reviews(3)[1].pk)
        failures: list[int] = []

        def on_failure(self: Any, review: Review, result: Any) -> None:
            failures.append(review.pk)

        def replies(params: Any, custom_id: str) -> Any:
            return BAD if custom_id == bad else "fine"

        with ClaudeEmulator(seed=1, replies=replies) as claude:
            run = over(job(on_failure=on_failure).start(), claude)
        batch = run.batches.get()
        services.redeliver(batch)
        with pytest.raises(InvalidTransition, match="it is being delivered"):
            services.redeliver(batch)
        deliver_all()
        assert (effects(), len(failures)) == ([2, 0, 2], 1)
        assert services.retry_run(run) == 1

    def test_what_is_taken_now_failed_no_more(self) -> None:
        """The new code is more lenient: the answer must not be paid for again."""
        reviews(2)
        schema = {"type": "object", "required": ["mood"]}
        with ClaudeEmulator(seed=1, replies=lambda params, custom_id: '{"tags": []}') as claude:
            run = over(job(output_schema=schema, max_attempts=1).start(), claude)
        assert DeliveryChunk.objects.get().failed_count == 2
        job(output_schema={"type": "object"})
        services.redeliver(run.batches.get())
        deliver_all()
        assert (effects(), DeliveryChunk.objects.get(mode="first").failed) == ([1, 1], [])
        assert counted(run) == (2, 0, 0, 0)
        with pytest.raises(ClaudeBatchesError, match="nothing to retry"):
            services.retry_run(run)

    def test_unfinished_answers_are_judged_anew_and_nothing_is_sent(self, settings: Any) -> None:
        reviews(2)
        with ClaudeEmulator(seed=1, replies=lambda *_: Reply("half", stop_reason="pause_turn")) as claude:
            run = over(job().start(), claude)
            assert (effects(), counted(run)) == ([0, 0], (0, 2, 0, 0))
            settings.CLAUDE_BATCHES = {**settings.CLAUDE_BATCHES, "WHOLE_STOP_REASONS": ["pause_turn"]}
            services.redeliver(run.batches.get())
            deliver_all()
            assert (effects(), counted(run)) == ([1, 1], (2, 0, 0, 0))
            settings.CLAUDE_BATCHES = {**settings.CLAUDE_BATCHES, "WHOLE_STOP_REASONS": []}
            services.redeliver(run.batches.get())
            deliver_all()
            assert (effects(), counted(run)) == ([1, 1], (2, 0, 0, 0))
            assert len(claude.batches) == 1

    @pytest.mark.slow
    def test_what_failed_and_is_raised_at_now_counts_when_it_is_taken(self) -> None:
        run = failed_and_raised_at()
        assert RunTotals.of(run).delivered == 0
        job(output_schema=LENIENT)
        services.redeliver_failed(run)
        assert (counted(run), effects()) == ((2, 0, 0, 0), [1, 1])
        with pytest.raises(ClaudeBatchesError, match="nothing to retry"):
            services.retry_run(run)

    @pytest.mark.slow
    def test_what_failed_and_fails_again_failed_once(self, claude: ClaudeEmulator) -> None:
        """Else it would be asked twice in one batch, which no batch can hold."""
        run = failed_and_raised_at()
        job(output_schema=STRICT, max_attempts=1)
        services.redeliver_failed(run)
        assert counted(run) == (0, 2, 0, 0)
        assert services.retry_run(run) == 2
        assert RunTotals.of(over(run, claude)).requests == {1: 2, 2: 2}

    @pytest.mark.slow
    def test_what_was_delivered_and_fails_now_stays_delivered(self) -> None:
        reviews(2)
        with ClaudeEmulator(seed=1, replies=lambda params, custom_id: TAGS) as claude:
            run = over(job(output_schema=LENIENT).start(), claude)
        job(output_schema=LENIENT, on_result=raising)
        services.redeliver(run.batches.get())
        assert counted(run) == (2, 0, 2, 0)
        job(output_schema=STRICT)
        services.redeliver_failed(run)
        assert counted(run) == (2, 0, 0, 0)
        job(output_schema=LENIENT)
        services.redeliver(run.batches.get())
        assert counted(run) == (2, 0, 0, 0)

    def test_nothing_is_asked_again_while_it_may_be_taken(self) -> None:
        reviews(2)
        with ClaudeEmulator(seed=1, replies=lambda params, custom_id: TAGS) as claude:
            run = over(job(output_schema=STRICT, max_attempts=1).start(), claude)
        job(output_schema=LENIENT)
        services.redeliver(run.batches.get())
        with pytest.raises(InvalidTransition, match="are being redelivered"):
            services.retry_run(run)
        assert counted(run) == (2, 0, 0, 0)

    def test_what_is_parked_and_gone_counts_as_gone_when_it_is_delivered(self, claude: ClaudeEmulator) -> None:
        rows = reviews(2)
        run = over(job(on_result=raising).start(), claude)
        rows[0].delete()
        job()
        services.redeliver(run.batches.get())
        assert counted(run) == (1, 0, 1, 0)
        services.redeliver_failed(run)
        assert counted(run) == (1, 0, 0, 1)

    @pytest.mark.slow
    def test_what_fits_by_now_is_asked_again_as_it_was(self, claude: ClaudeEmulator) -> None:
        """There is nothing to say of its answer any more."""
        run = failed_and_raised_at()
        assert services.retry_run(run) == 2
        over(run, claude)
        first, second = run.batches.order_by("pk")
        assert [request.params for request in second.requests.all()] == [
            request.params for request in first.requests.all()
        ]

    @pytest.mark.slow
    def test_a_failure_that_is_parked_stays_so(self) -> None:
        """Failures are not handed out again: nothing else would call their handler."""
        reviews(3)
        told: list[int] = []

        def broken(self: Any, review: Review, result: Any) -> None:
            raise LookupError

        with ClaudeEmulator(seed=1, replies=lambda params, custom_id: BAD) as claude:
            run = over(job(on_failure=broken).start(), claude)
        job(on_failure=lambda self, review, result: told.append(review.pk))
        services.redeliver(run.batches.get())
        deliver_all()
        assert (told, services.redeliver_failed(run)) == ([], 3)
        deliver_all()
        assert len(told) == 3

    def test_what_was_parked_is_not_handed_out_twice(self, claude: ClaudeEmulator) -> None:
        reviews(2)

        def broken(self: Any, review: Review, result: Any) -> None:
            raise LookupError

        run = over(job(on_result=broken).start(), claude)
        batch = run.batches.get()
        job()
        services.redeliver(batch)
        assert services.redeliver_failed(run) == 2
        deliver_all()
        assert (effects(), batch.failed_deliveries.count()) == ([1, 1], 0)

    @pytest.mark.slow
    def test_a_row_counts_as_delivered_once(self, claude: ClaudeEmulator) -> None:
        """Taken at first or raised at, handed out again and again: however it came to be taken."""
        reviews(3)
        run = over(job(on_result=raising).start(), claude)
        batch = run.batches.get()
        services.redeliver(batch)
        assert counted(run) == (0, 0, 3, 0)
        job()
        services.redeliver(batch)
        assert counted(run) == (3, 0, 0, 0)
        services.redeliver(batch)
        assert counted(run) == (3, 0, 0, 0)
        job(on_result=raising)
        services.redeliver(batch)
        assert counted(run) == (3, 0, 3, 0)
        services.redeliver_failed(run)
        assert counted(run) == (3, 0, 3, 0)
        job()
        services.redeliver_failed(run)
        assert (counted(run), effects()) == ((3, 0, 0, 0), [3, 3, 3])

    def test_a_batch_that_no_run_made(self, claude: ClaudeEmulator) -> None:
        rows = reviews(2)
        asked = [{**item(row.pk), "target": row} for row in rows]
        batch = services.submit(MessageBatch.objects.create_draft(asked, kind="tag-reviews"))
        services.advance(batch)
        claude.finish()
        services.advance(batch)
        assert DeliveryChunk.objects.count() == 0
        job()
        services.redeliver(batch)
        deliver_all()
        assert effects() == [1, 1]

    @pytest.mark.parametrize("state", [state for state in State if state != State.INGESTED])
    def test_none_that_is_not_complete(self, state: State) -> None:
        job()
        with pytest.raises(InvalidTransition):
            services.redeliver(in_state(state, kind="tag-reviews"))

    def test_none_whose_kind_is_nobodys(self) -> None:
        job_registry.unregister("tag-reviews")
        with pytest.raises(UnknownJob):
            services.redeliver(MessageBatch(kind="tag-reviews"))


class TestDeletion:
    def test_a_run_that_is_not_over_stays(self, claude: ClaudeEmulator) -> None:
        reviews(1)
        run = job().start()
        for deletion in (run.delete, JobRun.objects.all().delete):
            with pytest.raises(InvalidTransition, match="cancel it first"):
                deletion()
        over(run, claude)
        batch = run.batches.get()
        run.delete()
        batch.refresh_from_db()
        assert (batch.run, JobRun.objects.count(), batch.results.count()) == (None, 0, 1)

    def test_a_batch_stays_while_its_run_needs_it(self, claude: ClaudeEmulator) -> None:
        reviews(2)
        run = job().start()
        drive(run.pk)
        (batch,) = run.batches.all()
        MessageBatch.objects.update(is_filling=True)
        with pytest.raises(InvalidTransition, match="still adds requests"):
            batch.delete()
        MessageBatch.objects.update(is_filling=False)
        fetched(run, claude)
        with pytest.raises(InvalidTransition, match="being delivered to its job"):
            MessageBatch.objects.filter(run=run).delete()
        deliver_all()
        with pytest.raises(InvalidTransition, match="continues with it"):
            batch.delete()
        over(run, claude)
        assert batch.delete()[1]["django_claude_batches.DeliveryChunk"] == 1

    @pytest.mark.parametrize("state", slow_but(1, [State.DRAFT, State.REJECTED, State.HELD]))
    def test_an_unsent_batch_stays_until_its_run_is_canceled(self, claude: ClaudeEmulator, state: State) -> None:
        reviews(2)
        run = job().start()
        drive(run.pk)
        MessageBatch.objects.update(state=state, queued_at=timezone.now())
        batch = run.batches.get()
        for deletion in (batch.delete, MessageBatch.objects.filter(pk=batch.pk).delete):
            with pytest.raises(InvalidTransition, match="its run waits for it: cancel the run first"):
                deletion()
        services.cancel_run(run)
        batch.delete()
        over(run, claude)
        assert (run.state, effects()) == (RunState.CANCELED, [0, 0])


@pytest.mark.slow
def test_whatever_is_not_over_is_due_or_says_why(claude: ClaudeEmulator) -> None:
    """Constraints hold it; this looks that every way through leaves them true, and nothing asleep without a word."""
    reviews(5)
    calls: list[str] = []

    def replies(params: Any, custom_id: str) -> Any:
        calls.append(custom_id)
        return OVERLOADED if len(calls) % 2 else "fine"

    with ClaudeEmulator(seed=1, replies=replies) as emulator:
        run = job().start()
        for _round in range(6):
            for step in (lambda: fetched(run, emulator), deliver_all, lambda: drive(run.pk)):
                step()
                asleep = JobRun.objects.active().filter(paused_at__isnull=True, next_action_at__isnull=True)
                assert not asleep.exists()
                silent = Q(next_action_at__isnull=True, lease_token="", last_error="")
                assert not DeliveryChunk.objects.undone().filter(silent).exists()
        run.refresh_from_db()
        assert run.state == RunState.FINISHED


def test_a_finished_run_does_not_go_on_beside_the_next_one() -> None:
    reviews(3)
    with ClaudeEmulator(seed=1, replies=lambda params, custom_id: BAD) as claude:
        first = over(job().start(), claude)
        assert first.state == RunState.FINISHED
        second = job().start()
        with pytest.raises(AlreadyRunning, match=f"#{second.pk} ") as refused:
            services.retry_run(first)
        assert refused.value.run == second
        first.refresh_from_db()
        assert (first.state, MessageBatch.objects.filter(run=first).count()) == (RunState.FINISHED, 1)
        over(services.cancel_run(second), claude)
        assert services.retry_run(first) == 3
        with pytest.raises(AlreadyRunning, match=f"#{first.pk} "):
            job().start()
