"""Rows that cannot be asked, left out of a run: each is counted once, also after interruptions, and costs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import (
    DataError,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
    connection,
)
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_claude_batches import conf, services
from django_claude_batches.exceptions import Unaskable
from django_claude_batches.models import BatchRequest, JobRun, RunState, RunTotals
from django_claude_batches.services import pause_run, resume_run
from django_claude_batches.services.runs.request_builder import (
    FIRST_PAGE,
    MAX_LEFT_OUT_NAMED,
    MAX_LEFT_OUT_REASON,
    UNMEASURED_PAGE,
)
from django_claude_batches.testing import ClaudeEmulator
from django_claude_batches.testing.jobs import run_job
from tests.harness.library.models import Chapter, Review
from tests.harness.shop import effects, job, over, reviews
from tests.services.runs.test_draft import Died, drafted, drive, dying_at, limits_of, once

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def odd_ones_raise(self: Any, review: Review) -> str:
    if int(review.text.rpartition(" ")[2]) % 2:
        raise LookupError(f"no prompt for {review.text}")
    return review.text


RAISED_AT = odd_ones_raise.__code__.co_firstlineno + 2


def left_out(rows: list[Review]) -> list[list[str]]:
    why = f"LookupError at {__name__}, line {RAISED_AT}, in odd_ones_raise"
    return [[f"library.Review {row.pk}", why] for row in rows]


def test_a_run_is_paused_once_and_resumed_without_such_rows(claude: ClaudeEmulator) -> None:
    rows = reviews(45)
    finished: list[int] = []
    members = {"get_prompt": odd_ones_raise, "on_finished": lambda self, run: finished.append(run.left_out_count)}
    run = drive(job(**members).start())
    assert (run.is_paused, run.row_count, run.left_out_count) == (True, 1, 0)
    assert run.pause_reason.startswith(f"library.Review {rows[1].pk}: ")
    assert "resume-run --skip-unaskable" in run.pause_reason
    over(resume_run(run, skip_unaskable=True), claude)
    assert (run.state, run.is_paused, run.skip_unaskable) == (RunState.FINISHED, False, True)
    assert (run.row_count, run.left_out_count, run.left_out_rows) == (23, 22, left_out(rows[1::2]))
    assert drafted(run) == once(rows[::2])
    assert effects() == [1, 0] * 22 + [1]
    totals = RunTotals.of(run)
    assert (totals.rows, totals.left_out, totals.delivered, totals.request_count) == (23, 22, 23, 23)
    assert finished == [22]
    assert drive(job(**members).start()).is_paused, "it applies to one run only"


def test_a_job_whose_class_says_so_is_not_paused(claude: ClaudeEmulator) -> None:
    rows = reviews(5)
    run = run_job(job(get_prompt=odd_ones_raise, skip_unaskable=True), claude)
    assert (run.state, run.row_count, run.left_out_count) == (RunState.FINISHED, 3, 2)
    assert run.left_out_rows == left_out(rows[1::2])
    assert not run.skip_unaskable  # only set on request


def test_a_run_can_be_started_without_such_rows() -> None:
    reviews(5)
    job(get_prompt=odd_ones_raise)
    assert drive(services.start_job("tag-reviews", skip_unaskable=True)).left_out_count == 2


def test_the_first_rows_and_whole_pages_and_all_rows() -> None:
    rows = reviews(70)
    bad = {row.pk for row in rows[:43]}
    run = job(betas=[], get_betas=lambda self, row: ["two words"] if row.pk in bad else [], skip_unaskable=True).start()
    drive(run)
    assert (run.row_count, run.left_out_count, run.state) == (27, 43, RunState.RUNNING)
    assert drafted(run) == once(rows[43:])
    bad = {row.pk for row in rows}
    other = drive(job(allow_overlap=True, get_betas=lambda self, row: None, skip_unaskable=True).start())
    assert (other.row_count, other.left_out_count, other.state) == (0, 70, RunState.RUNNING)
    assert not other.batches.exists()


def test_keys_that_are_empty_or_too_long() -> None:
    for path in ("", "b", "x" * 65, "z" + "é" * 199):
        Chapter.objects.create(path=path, text="…")
    chapters = job(get_queryset=lambda self: Chapter.objects.all(), get_prompt=lambda self, row: row.text or None)
    chapters.skip_unaskable = True
    run = drive(chapters.start())
    assert (run.row_count, run.left_out_count, run.state) == (2, 2, RunState.RUNNING)
    (row, why), (longest, _why) = run.left_out_rows
    assert (row, why) == (f"library.Chapter {'x' * 65}", "target's primary key has more than 64 characters")
    assert len(longest) == MAX_LEFT_OUT_REASON
    assert len(run.cursor) == 200


@pytest.mark.parametrize("where", ["get_prompt", "get_queryset"])
@pytest.mark.parametrize("error", [OperationalError, InterfaceError, ProgrammingError, InternalError, MemoryError])
def test_what_is_not_the_rows_fault_leaves_none_out_and_is_tried_again(error: type[Exception], where: str) -> None:
    rows = reviews(3)
    troubles = [error("the server was restarted")]

    def get_prompt(self: Any, row: Review) -> str:
        if where == "get_prompt" and row.pk == rows[1].pk and troubles:
            raise troubles.pop()
        return row.text

    def get_queryset(self: Any) -> Any:
        if where == "get_queryset" and troubles:
            raise troubles.pop()
        return Review.objects.all()

    run = job(get_prompt=get_prompt, get_queryset=get_queryset, skip_unaskable=True).start()
    with pytest.raises(error):
        drive(run)
    run.refresh_from_db()
    assert (run.is_paused, run.failures, run.left_out_count, run.row_count) == (False, 1, 0, 0)
    assert f"{error.__name__}: the server was restarted" in run.last_error
    JobRun.objects.update(next_action_at=timezone.now() - timedelta(seconds=1))  # the back-off is over
    drive(run)
    assert (run.failures, run.left_out_count, drafted(run)) == (0, 0, once(rows))


@pytest.mark.parametrize("error", [DataError, IntegrityError])
def test_what_the_database_says_of_a_rows_own_values_is_the_rows(error: type[Exception]) -> None:
    rows = reviews(2)

    def get_prompt(self: Any, row: Review) -> str:
        raise error("integer out of range")

    run = drive(job(get_prompt=get_prompt, skip_unaskable=True).start())
    assert (run.failures, run.left_out_count) == (0, len(rows))


def test_the_first_50_are_named_without_their_messages() -> None:
    def get_prompt(self: Any, row: Review) -> str:
        raise LookupError("\0\ud800" + "x" * 10_000)

    reviews(MAX_LEFT_OUT_NAMED + 11)
    run = drive(job(get_prompt=get_prompt, skip_unaskable=True).start())
    assert (run.left_out_count, len(run.left_out_rows)) == (MAX_LEFT_OUT_NAMED + 11, MAX_LEFT_OUT_NAMED)
    assert all(why.startswith("LookupError at ") and "x" * 10 not in why for _row, why in run.left_out_rows)


def test_many_rows_that_cannot_be_asked_are_few_transactions() -> None:
    def get_prompt(self: Any, row: Review) -> str:
        raise LookupError("no prompt")

    rows = reviews(FIRST_PAGE + 2 * UNMEASURED_PAGE + 7)
    tagging = job(get_prompt=get_prompt, skip_unaskable=True)
    with CaptureQueriesContext(connection) as queries:
        run = drive(tagging.start())
    assert (run.left_out_count, len(run.left_out_rows)) == (len(rows), MAX_LEFT_OUT_NAMED)
    assert limits_of(queries) == [FIRST_PAGE, *[UNMEASURED_PAGE] * 4]
    assert len([query for query in queries if "UPDATE" in query["sql"] and "left_out_rows" in query["sql"]]) == 2
    with CaptureQueriesContext(connection) as queries:
        assert tagging.dry_run().left_out == len(rows)
    assert limits_of(queries) == [FIRST_PAGE, *[UNMEASURED_PAGE] * 4]


def test_a_queryset_that_cannot_be_read_pauses_all_the_same() -> None:
    reviews(3)
    run = drive(job(get_queryset=lambda self: Review.objects.all()[:2], skip_unaskable=True).start())
    assert (run.is_paused, run.left_out_count) == (True, 0)
    assert "resume-run" not in run.pause_reason


def test_it_is_said_of_the_rest_of_a_run_that_a_person_paused() -> None:
    rows = reviews(3)
    run = job(get_prompt=odd_ones_raise).start()
    drive(resume_run(pause_run(run), skip_unaskable=True))
    assert (run.row_count, run.left_out_rows) == (2, left_out(rows[1:2]))
    again = resume_run(pause_run(run))
    assert again.skip_unaskable


def test_it_is_said_while_a_page_is_taken() -> None:
    rows = reviews(45)

    def get_prompt(self: Any, row: Review) -> str:
        if row.pk == rows[1].pk and not run.skip_unaskable:
            resume_run(run, skip_unaskable=True)
        return odd_ones_raise(self, row)

    run = job(get_prompt=get_prompt).start()
    drive(run)
    assert (run.is_paused, run.pause_reason, run.left_out_count) == (False, "", 22)
    assert drafted(run) == once(rows[::2])


def test_a_run_that_is_paused_while_a_page_is_taken_stays_paused() -> None:
    rows = reviews(3)

    def get_prompt(self: Any, row: Review) -> str:
        if row.pk == rows[1].pk:
            pause_run(resume_run(run, skip_unaskable=True))
        return odd_ones_raise(self, row)

    run = job(get_prompt=get_prompt).start()
    drive(run)
    assert (run.is_paused, run.row_count + run.left_out_count) == (True, 0)
    assert "LookupError" not in run.pause_reason


@pytest.mark.parametrize("number", [2, 20, 21, 45])
def test_each_row_once_at_whichever_row_the_process_dies(number: int) -> None:
    rows = reviews(45)
    deaths: Iterator[Died] = iter([Died()])

    def get_prompt(self: Any, review: Review) -> str:
        if review.pk == rows[number - 1].pk:
            for death in deaths:
                raise death
        return odd_ones_raise(self, review)

    run = job(get_prompt=get_prompt, skip_unaskable=True).start()
    with pytest.raises(Died):
        drive(run)
    run.refresh_from_db()
    assert (run.row_count, run.left_out_count) in {(0, 0), (10, 10), (23, 22)}
    drive(run)
    assert drafted(run) == once(rows[::2])
    assert (run.left_out_count, run.left_out_rows) == (22, left_out(rows[1::2]))


@pytest.mark.slow
def test_each_row_once_at_whichever_statement_the_process_dies() -> None:
    rows = reviews(24)
    deaths = 0
    while True:
        run = job(allow_overlap=True, get_prompt=odd_ones_raise, skip_unaskable=True).start()
        with dying_at(deaths + 1) as statements:
            try:
                drive(run)
            except Died:
                deaths += 1
        if len(statements) <= deaths and run.state == RunState.RUNNING:
            break
        JobRun.objects.filter(pk=run.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
        drive(run)
        assert drafted(run) == once(rows[::2]), statements[-1]
        assert (run.row_count, run.left_out_count, run.left_out_rows) == (12, 12, left_out(rows[1::2]))
    assert deaths > 20


def test_a_dry_run_says_what_a_run_would_leave_out() -> None:
    rows = reviews(5)
    tagging = job(get_prompt=odd_ones_raise)
    with pytest.raises(Unaskable, match=f"library.Review {rows[1].pk}"):
        tagging.dry_run()
    look = services.dry_run("tag-reviews", skip_unaskable=True)
    assert (look.rows, look.requests, look.left_out, look.left_out_rows) == (3, 3, 2, left_out(rows[1::2]))
    tagging.skip_unaskable = True
    assert tagging.dry_run() == look
    assert not BatchRequest.objects.exists()


def test_a_dry_run_says_what_a_model_refuses() -> None:
    rows = reviews(30)

    def get_params(self: Any, row: Review) -> dict[str, Any]:
        hot = {"temperature": 1} if row.pk > rows[9].pk else {}
        messages = [{"role": "user", "content": row.text}]
        return {"model": "claude-opus-5", "max_tokens": 200_000, "messages": messages, **hot}

    tagging = job(get_params=get_params)
    assert set(tagging.dry_run().estimate.warnings) == {
        f"claude-opus-5 refuses temperature (20 requests, the first is library.Review {rows[10].pk})",
        f"claude-opus-5 refuses max_tokens above 128,000 (30 requests, the first is library.Review {rows[0].pk})",
    }
    tagging.betas = ["output-300k-2026-03-24"]
    assert len(tagging.dry_run().estimate.warnings) == 1
    run = drive(tagging.start())
    assert [batch.estimate(conf.prices()).warnings for batch in run.batches.all()] == [
        (f"claude-opus-5 refuses temperature (20 requests, the first is {rows[10].pk})",)
    ]
