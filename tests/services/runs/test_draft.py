"""Rows into requests: each once, whatever happens meanwhile."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from django.db import connection
from django.db.models import Count, Q, Value
from django.db.models.functions import Length
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_claude_batches import job_registry, services
from django_claude_batches.exceptions import InvalidTransition
from django_claude_batches.models import BatchRequest, JobRun, MessageBatch, RunState, State
from django_claude_batches.services import pause_run, resume_run
from django_claude_batches.services.runs.drive import drive_if_due
from django_claude_batches.services.runs.request_builder import FIRST_PAGE, PAGE
from django_claude_batches.services.runs.throttle import submit_pending
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.library.models import Book, Chapter, Parcel, Review
from tests.harness.selections import slow_but
from tests.harness.shop import job, over, reviews

pytestmark = [pytest.mark.django_db, pytest.mark.database]


class Died(BaseException):
    """The process is gone: nobody catches this. But `finally` runs, and releases the lease if the database lets it."""


def drafted(run: JobRun) -> Counter[str]:
    """Give how often each row was drafted in a run."""
    return Counter(BatchRequest.objects.filter(batch__run=run).values_list("object_id", flat=True))


def once(rows: Any) -> Counter[str]:
    return Counter({str(row.pk): 1 for row in rows})


def drive(run: JobRun) -> JobRun:
    drive_if_due(run.pk)
    run.refresh_from_db()
    return run


@contextmanager
def dying_at(number: int) -> Iterator[list[str]]:
    """Let the process die at so many statements from now; but it can still roll back."""
    statements: list[str] = []

    def execute(call: Callable[..., Any], sql: str, *rest: Any) -> Any:
        statements.append(sql)
        if len(statements) == number:
            raise Died(sql)
        return call(sql, *rest)

    with connection.execute_wrapper(execute):
        yield statements


@pytest.mark.slow
def test_each_row_once_at_whichever_statement_the_process_dies() -> None:
    rows = reviews(24)
    deaths = 0
    while True:
        run = job(allow_overlap=True, get_betas=lambda self, row: ["odd"] if row.pk % 2 else []).start()
        with dying_at(deaths + 1) as statements:
            try:
                drive(run)
            except Died:
                deaths += 1
        if len(statements) <= deaths and run.state == RunState.RUNNING:
            break
        JobRun.objects.filter(pk=run.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
        drive(run)
        assert drafted(run) == once(rows), statements[-1]
        assert (run.row_count, run.state) == (24, RunState.RUNNING)
        assert sorted(run.batches.values_list("request_count", "is_filling")) == [(12, False), (12, False)]
    assert deaths > 30


@pytest.mark.parametrize("number", [1, 20, 21, 44, 45])
def test_each_row_once_at_whichever_row_the_process_dies(number: int) -> None:
    rows = reviews(45)
    lives = iter([Died()])

    def get_prompt(self: Any, review: Review) -> str:
        if review.pk == rows[number - 1].pk:
            for death in lives:
                raise death
        return review.text

    run = job(get_prompt=get_prompt).start()
    with pytest.raises(Died):
        drive(run)
    assert sum(drafted(run).values()) in {0, 20, 45}
    drive(run)
    assert drafted(run) == once(rows)


def test_rows_that_come_and_go_meanwhile() -> None:
    rows = reviews(45)
    new: list[Review] = []

    def get_prompt(self: Any, review: Review) -> str:
        if review.pk == rows[10].pk:  # of the first page, which is in hand
            Review.objects.filter(pk__in=[rows[5].pk, rows[44].pk]).delete()
            new.extend(reviews(3))
        return review.text

    run = drive(job(get_prompt=get_prompt).start())
    assert drafted(run) == once([*rows[:44], *new])


@pytest.mark.parametrize(
    "queryset",
    slow_but(
        2,
        [
            lambda: Review.objects.order_by("-text"),
            Review.objects.reverse,
            lambda: Review.objects.order_by("pk").reverse(),
            lambda: Review.objects.annotate(length=Length("text"), one=Value(1)).filter(length__gt=0),
            lambda: Review.objects.distinct().only("text"),
            lambda: Review.objects.defer("tags"),
            lambda: Review.objects.filter(Q(text__contains="1") | Q(text__contains="Review")),
            lambda: Review.objects.none() | Review.objects.all(),
        ],
    ),
)
def test_any_queryset(queryset: Callable[[], Any]) -> None:
    rows = reviews(30)
    run = drive(job(get_queryset=lambda self: queryset()).start())
    assert drafted(run) == once(rows), run.pause_reason


def test_a_join_that_gives_a_row_several_times() -> None:
    books = Book.objects.bulk_create(Book(title=f"Book {number}") for number in range(30))
    chapters = Chapter.objects.bulk_create(Chapter(path=f"chapter-{number}", text="…") for number in range(3))
    for chapter in chapters:
        chapter.books.set(books)
    rows = Chapter.objects.filter(books__title__startswith="Book")
    assert rows.count() == 90
    run = drive(job(get_queryset=lambda self: rows).start())
    assert drafted(run) == once(chapters)
    grouped = Book.objects.annotate(count=Count("chapters")).filter(count=3)
    assert drafted(drive(job("books", get_queryset=lambda self: grouped, get_prompt=str).start())) == once(books)


@pytest.mark.parametrize(
    ("queryset", "told"),
    slow_but(
        2,
        [
            (lambda: Review.objects.all()[:5], "gives a slice"),
            (lambda: list(Review.objects.all()), "must give a queryset, not list"),
            (lambda: Review.objects.values("pk"), "gives values"),
            (lambda: Review.objects.values_list("pk"), "gives values"),
            (lambda: Review.objects.filter(pk=1).union(Review.objects.filter(pk=2)), "gives a union()"),
            (lambda: Review.objects.distinct("text"), "by distinct() of fields"),
            (lambda: Review.objects.filter(no_such_column=1), "Cannot resolve keyword 'no_such_column'"),
            (lambda: Review.objects.all().no_such_method(), "no_such_method"),  # type: ignore[attr-defined]
        ],
    ),
)
def test_what_cannot_be_read_page_by_page_pauses_the_run(queryset: Callable[[], Any], told: str) -> None:
    reviews(30)
    run = drive(job(get_queryset=lambda self: queryset()).start())
    assert (run.is_paused, run.state, run.row_count) == (True, RunState.DRAFTING, 0)
    assert run.pause_reason.startswith("get_queryset()")
    assert told in run.pause_reason
    assert run.pause_reason.endswith("Fix it, and resume the run.")
    job()
    assert drive(resume_run(run)).row_count == 30


def test_a_row_that_cannot_be_asked_pauses_the_run_which_goes_on_with_it() -> None:
    rows = reviews(30)
    broken = rows[23]
    Review.objects.filter(pk=broken.pk).update(text="broken")

    def get_prompt(self: Any, review: Review) -> str:
        if review.text == "broken":
            raise LookupError("there is no such prompt")
        return review.text

    run = drive(job(get_prompt=get_prompt).start())
    assert (run.is_paused, run.row_count) == (True, 23)
    assert run.pause_reason.startswith(f"library.Review {broken.pk}: ")
    assert "LookupError: there is no such prompt" in run.pause_reason
    assert drafted(drive(run)) == once(rows[:23])
    assert drive(resume_run(run)).is_paused
    Review.objects.filter(pk=broken.pk).update(text="mended")
    assert drafted(drive(resume_run(run))) == once(rows)


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"get_params": lambda self, row: {"max_tokens": 0}}, "params.model is missing: the API requires it"),
        ({"max_tokens": 0}, "params.max_tokens must be a whole number from 1, not 0"),
        *(
            ({"get_prompt": lambda self, row, text=text: text}, f"must return a text, not {kind}")
            for text, kind in (("", "an empty one"), (" \n", "an empty one"), (None, "NoneType"), (7, "int"))
        ),
        ({"get_params": lambda self, row: ["not", "an object"]}, "params must be a JSON object, not list"),
        ({"get_params": lambda self, row: {"messages": object()}}, "object"),
        ({"betas": "output-300k-2026-03-24"}, "betas are a list of names, not a text"),
        ({"betas": ["two words"]}, "a beta must be one word"),
        ({"get_betas": lambda self, row: None}, "TypeError"),
    ],
)
def test_why_a_row_cannot_be_asked(members: dict[str, Any], told: str) -> None:
    [row] = reviews(1)
    run = drive(job(**members).start())
    assert f"library.Review {row.pk}: " in run.pause_reason
    assert told in run.pause_reason
    assert not MessageBatch.objects.exists()


def test_a_row_too_large_for_a_statement_pauses_the_run() -> None:
    if connection.vendor != "mysql":
        pytest.skip("only MySQL and MariaDB limit what a statement holds")
    rows = reviews(2)
    large = job(get_prompt=lambda self, review: "x" * 17_000_000 if review.pk == rows[1].pk else review.text)
    run = drive(large.start())
    assert (run.is_paused, run.row_count) == (True, 1)
    assert "max_allowed_packet" in run.pause_reason


def test_keys_that_are_uuids(claude: ClaudeEmulator) -> None:
    parcels = Parcel.objects.bulk_create(Parcel(text=f"Parcel {number}") for number in range(60))
    run = job(get_queryset=lambda self: Parcel.objects.all(), on_result=lambda self, row, result: None).start()
    over(run, claude)
    assert run.state == RunState.FINISHED
    assert drafted(run) == once(parcels)
    assert set(BatchRequest.objects.values_list("custom_id", flat=True)) == {str(parcel.pk) for parcel in parcels}


def test_keys_that_are_texts(claude: ClaudeEmulator) -> None:
    odd = ["", "1", "2", "17", "a b", "ü", "x" * 51, "a/b", "'", "B", "\\", "%"]
    paths = [*odd, *(f"chapter-{number}" for number in range(30))]
    chapters = Chapter.objects.bulk_create(Chapter(path=path, text="…") for path in paths)
    seen: Counter[str] = Counter()

    def on_result(self: Any, row: Chapter, result: Any) -> None:
        seen[row.path] += 1

    run = job(get_queryset=lambda self: Chapter.objects.all(), on_result=on_result).start()
    over(run, claude)
    assert run.state == RunState.FINISHED, run.pause_reason or run.last_error
    assert drafted(run) == once(chapters)
    assert seen == Counter(paths)
    ids = dict(BatchRequest.objects.values_list("object_id", "custom_id"))
    assert ids["chapter-7"] == "chapter-7"
    for request in BatchRequest.objects.filter(object_id__in=odd[:9]):
        assert request.custom_id == str(request.position), request.object_id


def test_no_row_at_all(claude: ClaudeEmulator) -> None:
    told: list[Any] = []
    run = over(job(on_finished=lambda self, run: told.append(run.pk)).start(), claude)
    assert (run.state, run.row_count, told) == (RunState.FINISHED, 0, [run.pk])
    assert not MessageBatch.objects.exists()


def limits_of(queries: CaptureQueriesContext) -> list[int]:
    """Give how many rows were asked for, each time that reviews were read."""
    reads = [query["sql"] for query in queries if re.match("SELECT .*library_review.* LIMIT", query["sql"])]
    assert not [sql for sql in reads if "OFFSET" in sql]
    return [int(sql.rpartition("LIMIT ")[2]) for sql in reads]


@pytest.mark.slow
def test_pages_are_found_by_key_and_their_number_grows_with_the_rows() -> None:
    counts = []
    for pages in (1, 2, 3):
        reviews(FIRST_PAGE + PAGE if pages == 1 else PAGE)
        with CaptureQueriesContext(connection) as queries:
            run = drive(job(allow_overlap=True).start())
        assert run.row_count == FIRST_PAGE + pages * PAGE
        assert limits_of(queries) == [FIRST_PAGE, *[PAGE] * pages, PAGE]
        counts.append(len(queries))
    assert counts[2] - counts[1] == counts[1] - counts[0] < 20


def test_large_rows_make_small_pages() -> None:
    rows = reviews(50)
    with CaptureQueriesContext(connection) as queries:
        run = drive(job(get_prompt=lambda self, review: "x" * 400_000).start())
    assert drafted(run) == once(rows)
    first, *others = limits_of(queries)
    assert (first, set(others)) == (FIRST_PAGE, {9})  # 4 MB


def test_slow_rows_keep_nobody_waiting_and_no_lease_too_long() -> None:
    rows = reviews(25)
    seconds = 0
    counts: list[int] = []

    def get_prompt(self: Any, review: Review) -> str:
        nonlocal seconds
        seconds += 5
        counts.append(BatchRequest.objects.count())
        return review.text

    run = job(get_prompt=get_prompt).start()
    with mock.patch("time.monotonic", side_effect=lambda: float(seconds)):
        drive(run)
        assert (seconds, run.state) == (60, RunState.DRAFTING)
        assert counts == [number - number % 3 for number in range(12)], "a page ends after 10 seconds"
        for _tick in range(2):
            assert JobRun.objects.due().exists()
            drive(run)
    assert run.state == RunState.RUNNING
    assert drafted(run) == once(rows)


def test_a_run_that_is_paused_or_canceled_drafts_no_more() -> None:
    rows = reviews(45)

    def get_prompt(self: Any, review: Review) -> str:
        if review.pk == rows[30].pk:
            wish(JobRun.objects.get())
        return review.text

    wish: Callable[[JobRun], Any] = pause_run
    run = drive(job(get_prompt=get_prompt).start())
    assert (run.is_paused, run.state) == (True, RunState.DRAFTING)
    assert drafted(run) == once(rows[:20])
    wish = services.cancel_run
    run = drive(resume_run(run))
    assert run.state in {RunState.CANCELING, RunState.CANCELED}
    assert drafted(run) == once(rows[:20])
    assert not MessageBatch.objects.filter(is_filling=True).exists()


def test_a_batch_that_is_being_filled_cannot_be_submitted() -> None:
    rows = reviews(45)
    refusals: list[str] = []

    def get_prompt(self: Any, review: Review) -> str:
        if review.pk == rows[30].pk:
            batch = MessageBatch.objects.get()
            with pytest.raises(InvalidTransition) as refused:
                services.submit(batch)
            refusals.append(str(refused.value))
            assert submit_pending() == 0
        return review.text

    run = drive(job(get_prompt=get_prompt).start())
    [refusal] = refusals
    assert "its run still adds requests to it" in refusal
    assert run.batches.get().state == State.DRAFT
    assert submit_pending() == 1


def test_a_job_whose_code_is_gone_pauses_its_run() -> None:
    reviews(3)
    run = job().start()
    job_registry.unregister("tag-reviews")
    drive(run)
    assert 'No job is named "tag-reviews" here (known: ' in run.pause_reason
    job()
    assert drive(resume_run(run)).row_count == 3
