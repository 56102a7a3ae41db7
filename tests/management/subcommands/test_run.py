"""`run`, `runs`, and the verbs for runs."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from django_claude_batches import job_registry, services
from django_claude_batches.models import DeliveryChunk, JobRun, MessageBatch, RunState, State
from django_claude_batches.services import advance_run
from django_claude_batches.testing import ClaudeEmulator, Failure
from tests.harness.factories import draft
from tests.harness.library.models import Review
from tests.harness.shop import job, over, reviews
from tests.management.conftest import Manage

pytestmark = pytest.mark.django_db

ABOVE = {"KICK": False, "CONFIRM_ABOVE_REQUESTS": 2, "CONFIRM_ABOVE_USD": None}


def refusing(params: Any, custom_id: str) -> Any:
    return Failure("invalid_request_error", "No.") if "Review 0" in params["messages"][0]["content"] else "good"


def test_without_a_name_the_jobs_are_listed(manage: Manage) -> None:
    job("tag-books"), job("tag-reviews")
    ran = manage("run")
    assert (ran.code, {"tag-books", "tag-reviews"} <= set(ran.out.split())) == (0, True)
    assert manage("run", "--json").document["jobs"] == job_registry.names()
    assert not JobRun.objects.exists()


def test_no_such_job(manage: Manage) -> None:
    job()
    for options in ([], ["--dry-run"], ["--yes"]):
        ran = manage("run", "tag-review", *options)
        assert ran.code == 1
        assert 'No job is named "tag-review" here (known: ' in ran.err
        assert "tag-reviews" in ran.err


def test_a_start(manage: Manage) -> None:
    reviews(3)
    job()
    ran = manage("run", "tag-reviews", "--label", "nightly", "--json")
    [shown] = ran.document["runs"]
    run = JobRun.objects.get()
    assert (ran.code, shown["id"], shown["state"], shown["label"]) == (0, run.pk, "drafting", "nightly")
    assert not MessageBatch.objects.exists()
    again = manage("run", "tag-reviews")
    assert (again.code, f'is running already: run #{run.pk} "nightly" of tag-reviews' in again.err) == (1, True)
    assert "label" in manage("run", "tag-reviews", "--label", "x" * 201).err


def test_an_error_of_several_lines_is_shown_in_lines(manage: Manage) -> None:
    def get_prompt(self: Any, row: Review) -> str:
        raise LookupError("first\n\x1b[31msecond")

    reviews(1)
    job(get_prompt=get_prompt)
    ran = manage("run", "tag-reviews", "--dry-run")
    assert "\n  | LookupError: first\n  | \\u001b[31msecond" in ran.err
    assert "\n  | Traceback (most recent call last):\n  | " in ran.err


def test_a_dry_run(manage: Manage) -> None:
    reviews(3)
    job()
    ran = manage("run", "tag-reviews", "--dry-run")
    assert ran.code == 0
    assert "Review 0" in ran.out
    assert "3 rows, 3 requests, 1 batch, " in ran.out
    assert "Nothing was stored or sent." in ran.out
    assert "Estimate: $0.00 to $0.01" in ran.out
    document = manage("run", "tag-reviews", "--dry-run", "--json").document
    assert (document["rows"], document["request_count"], document["batch_count"]) == (3, 3, 1)
    assert len(document["first"]) == 3
    assert not JobRun.objects.exists()


def test_a_row_that_cannot_be_asked(manage: Manage) -> None:
    [row] = reviews(1)
    job(betas=["two words"])
    for options in ([], ["--dry-run"]):
        ran = manage("run", "tag-reviews", *options)
        assert (ran.code, f"library.Review {row.pk}: a beta must be one word" in ran.err) == (1, True)
    assert not JobRun.objects.exists()


def test_what_is_above_a_limit_is_started_only_with_yes(manage: Manage, settings: Any) -> None:
    settings.CLAUDE_BATCHES = ABOVE
    reviews(3)
    job()
    refused = manage("run", "tag-reviews")
    assert refused.code == 1
    assert "Not started: 3 requests, estimate $0.00 to $0.01" in refused.err
    assert "claude_batches run tag-reviews --yes" in refused.err
    refused = manage("run", "tag-reviews", "--label", "every night", "--wait")
    assert "claude_batches run tag-reviews --label 'every night' --wait --yes" in refused.err
    assert not JobRun.objects.exists()
    assert manage("run", "tag-reviews", "--yes").code == 0
    assert JobRun.objects.count() == 1


def test_nothing_is_looked_at_where_there_is_no_limit(manage: Manage, settings: Any) -> None:
    settings.CLAUDE_BATCHES = {**ABOVE, "CONFIRM_ABOVE_REQUESTS": None}
    reviews(1)
    job(get_prompt=lambda self, row: pytest.fail("it was looked at"))
    assert manage("run", "tag-reviews").code == 0


@pytest.mark.slow
def test_waiting_does_all_of_it(manage: Manage) -> None:
    reviews(30)
    job()
    with ClaudeEmulator(seconds=0.3):
        ran = manage("run", "tag-reviews", "--wait", "--interval", "0.1")
    assert (ran.code, ran.out.count("Finished")) == (0, 1)
    assert "30 rows, 1 batch (1 Complete), 30 delivered. < $0.01 so far." in ran.out
    assert "Running, 30 rows, 1 batch (1 Running at Anthropic)\n" in ran.err
    assert list(Review.objects.values_list("effects", flat=True)) == [1] * 30


def test_waiting_for_a_run_that_asks_nothing_ends_with_a_person(manage: Manage, claude: ClaudeEmulator) -> None:
    def get_prompt(self: Any, review: Review) -> str:
        raise ConnectionError("the tagging service is away")

    reviews(1)
    job(get_prompt=get_prompt, skip_unaskable=True)
    ran = manage("run", "tag-reviews", "--wait", "--interval", "0.1")
    assert (ran.code, "All rows were left out" in ran.err) == (4, True)


def test_waiting_keeps_to_the_run(manage: Manage) -> None:
    reviews(1)
    job()
    other = services.submit(draft())
    with ClaudeEmulator(seconds=0):
        assert manage("run", "tag-reviews", "--wait", "--interval", "0.1").code == 0
    other.refresh_from_db()
    assert other.state == State.QUEUED


@pytest.mark.slow
def test_ctrl_c_stops_waiting_and_the_run_goes_on(manage: Manage, claude: ClaudeEmulator) -> None:
    rows = reviews(30)

    def get_prompt(self: Any, review: Review) -> str:
        if review.pk == rows[25].pk:
            os.kill(os.getpid(), signal.SIGINT)
        return review.text

    job(get_prompt=get_prompt)
    ran = manage("run", "tag-reviews", "--wait", "--interval", "60", "--yes")
    run = JobRun.objects.get()
    assert (ran.code, f"Stopped waiting, and it continues: run {run} (Running)" in ran.err) == (3, True)
    assert (run.row_count, run.lease_token, claude.batches) == (30, "", [])
    over(run, claude)
    assert run.state == RunState.FINISHED


def test_a_handler_that_raises_needs_a_person(manage: Manage) -> None:
    reviews(3)

    def on_result(self: Any, review: Review, result: Any) -> None:
        raise LookupError("no such tag")

    job(on_result=on_result)
    with ClaudeEmulator(seconds=0):
        ran = manage("run", "tag-reviews", "--wait", "--interval", "0.1")
    assert ran.code == 4
    assert "3 failed deliveries" in ran.out
    assert "Rows that raised an error in the job's code: 3" in ran.err


def test_a_run_that_is_paused_ends_the_wait(manage: Manage, claude: ClaudeEmulator) -> None:
    [row] = reviews(1)
    job(betas=["two words"])
    ran = manage("run", "tag-reviews", "--wait", "--yes")
    assert ran.code == 4
    assert f"needs a person. Paused: library.Review {row.pk}: a beta must be one word" in ran.err


def test_a_refused_key_ends_the_wait(manage: Manage, claude: ClaudeEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-canary")
    reviews(1)
    job()
    ran = manage("run", "tag-reviews", "--wait")
    assert (ran.code, "Account default is paused, so nothing is sent: Anthropic answered 401" in ran.err) == (4, True)
    assert "canary" not in ran.out + ran.err


def test_a_batch_that_waits_for_a_person_ends_the_wait(manage: Manage) -> None:
    reviews(3)
    job()
    with ClaudeEmulator(max_requests=2):
        ran = manage("run", "tag-reviews", "--wait", "--interval", "0.1")
    batch = MessageBatch.objects.get()
    assert batch.state == State.REJECTED
    assert (ran.code, f"Batches were not accepted: batch {batch} (Refused by Anthropic)." in ran.err) == (4, True)


def test_no_key(manage: Manage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    reviews(1)
    job()
    ran = manage("run", "tag-reviews", "--wait")
    assert (ran.code, ran.err.rpartition("\n")[2].startswith('No API key for account "default".')) == (1, True)


@pytest.fixture
def finished() -> Iterator[JobRun]:
    """A run that is over, one of whose three rows failed for good."""
    reviews(3)
    with ClaudeEmulator(seed=1, replies=refusing) as claude:
        yield over(job().start(label="nightly"), claude)


def test_runs_are_listed(manage: Manage, finished: JobRun) -> None:
    job("tag-books", get_queryset=lambda self: Review.objects.none())
    active = services.start_job("tag-books")
    ran = manage("runs")
    lines = ran.out.splitlines()
    assert lines[0] == f"#{active.pk} of tag-books: Being drafted, 0 rows, 0 batches. $0.00 so far."
    assert lines[1].startswith(
        f'#{finished.pk} "nightly" of tag-reviews: Finished, 3 rows, 1 batch (1 Complete), 2 delivered, 1 failed; '
        "failed: 1 errored. < $0.01 so far."
    )
    assert manage("runs", "--active").out.splitlines() == lines[:1]
    assert manage("runs", "--job", "tag-reviews").out.splitlines() == lines[1:]
    assert manage("runs", "--job", "no-such-job").out == "There is no such run.\n"
    [shown] = manage("runs", "--job", "tag-reviews", "--json").document["runs"]
    assert (shown["rows"], shown["requests"], shown["batches"]) == (3, 3, {"ingested": 1})
    assert (shown["delivered"], shown["failed"], shown["failed_deliveries"], shown["to_retry"]) == (2, 1, 0, 0)
    assert shown["outcomes"] == {"succeeded": 2, "errored": 1}
    assert (shown["canceled"], shown["failures"]) == (0, {"errored": 1})
    assert float(shown["cost_usd"]) > 0
    assert shown["finished_at"] == finished.finished_at.isoformat()  # type: ignore[union-attr]


def test_pause_resume_and_cancel(manage: Manage, claude: ClaudeEmulator) -> None:
    reviews(3)
    run = job().start()
    advance_run(run)
    paused = manage("pause-run", f"#{run.pk}")
    assert (paused.code, "Running, paused, 3 rows" in paused.out) == (0, True)
    assert manage("resume-run", run.pk, "--json").document["runs"][0]["paused_at"] is None
    canceled = manage("cancel-run", run.pk)
    assert (canceled.code, "Canceling" in canceled.out) == (0, True)
    over(run, claude)
    assert run.state == RunState.CANCELED
    assert [call.path.rpartition("/")[2] for call in claude.requests if call.method == "POST"] == ["batches", "cancel"]
    for word in ("pause-run", "resume-run"):
        refused = manage(word, run.pk)
        assert (refused.code, "it is over" in refused.err) == (1, True)


def test_a_wish_is_recorded_on_all_runs_or_on_none(manage: Manage, finished: JobRun) -> None:
    active = job("tag-books").start()
    assert manage("pause-run", active.pk, finished.pk).code == 1
    active.refresh_from_db()
    assert not active.is_paused
    unknown = manage("pause-run", active.pk, 9999)
    assert (unknown.code, "There is no run #9999" in unknown.err) == (1, True)
    assert "names no run" in manage("pause-run", "tag-books").err


@pytest.mark.slow
def test_what_a_retry_of_several_runs_comes_to_is_their_sum(manage: Manage, finished: JobRun, settings: Any) -> None:
    reviews(1)
    with ClaudeEmulator(seed=2, replies=refusing) as claude:
        other = over(job("tag-books").start(), claude)
    settings.CLAUDE_BATCHES = {**ABOVE, "CONFIRM_ABOVE_REQUESTS": 1}
    refused = manage("retry-run", finished.pk, other.pk)
    assert f"claude_batches retry-run {finished.pk} {other.pk} --yes" in refused.err
    assert "Not retried: 3 requests" in refused.err
    assert not DeliveryChunk.objects.to_follow_up().exists()


@pytest.mark.slow
def test_retry(manage: Manage, finished: JobRun, settings: Any) -> None:
    none = manage("retry-run", finished.pk, "--outcome", "expired")
    assert (none.code, "has no row that failed so" in none.err) == (1, True)
    settings.CLAUDE_BATCHES = {**ABOVE, "CONFIRM_ABOVE_REQUESTS": 0}
    refused = manage("retry-run", finished.pk)
    assert (refused.code, f"claude_batches retry-run {finished.pk} --yes" in refused.err) == (1, True)
    assert "Not retried: 1 request, estimate $0.00 to " in refused.err
    some = manage("retry-run", finished.pk, "--outcome", "errored", "--outcome", "refused")
    assert f"claude_batches retry-run {finished.pk} --outcome errored --outcome refused --yes" in some.err
    finished.refresh_from_db()
    assert (finished.state, MessageBatch.objects.count()) == (RunState.FINISHED, 1)
    assert not DeliveryChunk.objects.to_follow_up().exists()
    ran = manage("retry-run", finished.pk, "--outcome", "errored", "--yes")
    assert (ran.code, "1 to retry" in ran.out) == (0, True)
    manage("tick")
    assert finished.batches.get(run_attempt=2).request_count == 1


def odd_ones_raise(self: Any, review: Review) -> str:
    if review.text.endswith(("1", "3")):
        raise LookupError("no prompt")
    return review.text


def test_rows_that_cannot_be_asked_are_left_out_and_named(
    manage: Manage, settings: Any, claude: ClaudeEmulator
) -> None:
    settings.CLAUDE_BATCHES = ABOVE
    rows = reviews(5)
    why = f"LookupError at {__name__}, line {odd_ones_raise.__code__.co_firstlineno + 2}, in odd_ones_raise"
    named = [[f"library.Review {row.pk}", why] for row in rows[1::2]]
    job(get_prompt=odd_ones_raise)
    look = manage("run", "tag-reviews", "--dry-run", "--skip-unaskable")
    assert (look.code, "2 rows would be left out" in look.out, f"  {': '.join(named[1])}" in look.out) == (
        0,
        True,
        True,
    )
    document = manage("run", "tag-reviews", "--dry-run", "--skip-unaskable", "--json").document
    assert (document["rows"], document["left_out"], document["left_out_rows"]) == (3, 2, named)
    refused = manage("run", "tag-reviews", "--skip-unaskable")
    assert "claude_batches run tag-reviews --skip-unaskable --yes" in refused.err
    assert manage("run", "tag-reviews", "--skip-unaskable", "--yes").code == 0
    assert over(JobRun.objects.get(), claude).state == RunState.FINISHED
    [shown] = manage("runs", "--json").document["runs"]
    assert (shown["rows"], shown["left_out"], shown["left_out_rows"]) == (3, 2, named)


def test_a_paused_run_goes_on_without_such_rows(manage: Manage, claude: ClaudeEmulator) -> None:
    reviews(5)
    run = job(get_prompt=odd_ones_raise).start()
    assert over(run, claude).is_paused
    assert manage("resume-run", run.pk, "--skip-unaskable").code == 0
    run.refresh_from_db()
    assert over(run, claude).state == RunState.FINISHED
    shown = manage("runs")
    assert "3 rows, 1 batch (1 Complete), 3 delivered, 2 left out." in shown.out
