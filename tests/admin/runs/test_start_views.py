"""The page of jobs, and the one that shows what a run would send before it is started."""

from __future__ import annotations

import re
from typing import Any
from unittest import mock

import pytest
from django.contrib.admin.models import LogEntry
from django.db import ProgrammingError
from django.test import Client, override_settings
from django.urls import reverse
from django.utils.html import escape

from django_claude_batches import job_registry
from django_claude_batches.admin.runs.preview import Seen, look
from django_claude_batches.models import AccountState, JobRun, MessageBatch, RunState
from tests.admin.admin_pages import HOSTILE, RUNS, page, said, url
from tests.admin.conftest import Staff
from tests.harness.library.models import Review
from tests.harness.shop import job, reviews

pytestmark = pytest.mark.django_db

JOBS = "/admin/django_claude_batches/jobrun/jobs/"
CONFIRM_ALL = {"KICK": False, "CONFIRM_ABOVE_REQUESTS": 2}


@pytest.fixture(autouse=True)
def tagging() -> None:
    job()


def start_url(name: str = "tag-reviews") -> str:
    return reverse("admin:django_claude_batches_jobrun_start", args=[name])


def shown_on(client: Client) -> str:
    """Open the page, and return the token of its preview."""
    found = re.search(r'name="shown" value="([^"]+)"', page(client, start_url()))
    assert found
    return found[1]


def start(client: Client, shown: str, **fields: str) -> Any:
    return client.post(start_url(), {"_start": "Start", "shown": shown, "label": "", **fields})


def test_jobs_are_listed_with_what_they_say_of_themselves(root: Client) -> None:
    job("with-words", __doc__=f"Tag what {HOSTILE} wrote.\n\nAnd more.", claude_model="claude-sonnet-5")
    JobRun.objects.create(job="tag-reviews", state=RunState.FINISHED)
    last = JobRun.objects.create(job="tag-reviews", next_action_at="2026-11-01T00:00Z")
    shown = page(root, JOBS)
    assert escape(f"Tag what {HOSTILE} wrote.") in shown
    assert "And more." not in shown
    assert "claude-sonnet-5" in shown
    assert "Being drafted" in shown
    assert url(RUNS, "change", last.pk) in shown
    assert "Which rows, what to ask" not in shown  # what the base class says of itself
    assert start_url("with-words") in shown
    assert shown.count("All times on this page are those of") == 1
    job_registry.unregister("with-words")


def test_jobs_are_reached_from_the_index_and_the_list(root: Client, staff: Staff) -> None:
    assert url(RUNS, "add") in page(root, "/admin/")
    assert root.get(url(RUNS, "add")).url == JOBS
    assert JOBS in page(root, url(RUNS))
    viewer = staff("view_jobrun")
    assert "Start a job" not in page(viewer, url(RUNS))
    assert JOBS in page(viewer, url(RUNS))
    assert start_url() not in page(viewer, JOBS)
    assert staff("view_messagebatch", username="ida").get(JOBS).status_code == 403
    starter = staff("start_jobrun", username="eve")
    assert start_url() in page(starter, JOBS)


def test_what_would_be_sent_is_shown_and_nothing_is_stored(root: Client) -> None:
    reviews(5)
    shown = page(root, start_url())
    assert "5 rows would be asked." in shown
    assert "Request 3, as it would be sent" in shown
    assert "Tag this review:\\nReview 2" in shown
    assert "Review 3" not in shown
    assert "$0.01 by the prices of" in shown
    assert (JobRun.objects.count(), MessageBatch.objects.count()) == (0, 0)


def test_a_job_is_started_once_and_it_is_logged(staff: Staff) -> None:
    reviews(2)
    client = staff("start_jobrun", "view_jobrun")
    shown = shown_on(client)
    answer = start(client, shown, label="by hand")
    run = JobRun.objects.get()
    assert answer.url == url(RUNS, "change", run.pk)
    assert (run.job, run.label, run.created_by_name, run.state) == ("tag-reviews", "by hand", "grace", "drafting")
    assert LogEntry.objects.get().object_id == str(run.pk)
    again = start(client, shown)
    assert (JobRun.objects.count(), LogEntry.objects.count()) == (1, 1)
    assert escape('Job "tag-reviews" is running already: run #') in said(again)[-1]
    assert url(RUNS, "change", run.pk) in said(again)[-1]


@pytest.mark.parametrize("codenames", [(), ("view_jobrun",), ("pause_jobrun", "view_jobrun", "submit_messagebatch")])
def test_a_job_is_not_started_without_its_permission(staff: Staff, root: Client, codenames: tuple[str, ...]) -> None:
    reviews(1)
    shown = shown_on(root)
    client = staff(*codenames)
    assert client.get(start_url()).status_code == 403
    assert start(client, shown).status_code == 403
    assert not JobRun.objects.exists()


def test_prompts_are_shown_to_those_who_may_read_them(staff: Staff) -> None:
    reviews(1)
    assert "Tag this review" not in page(staff("start_jobrun"), start_url())
    assert "Tag this review" in page(staff("start_jobrun", "view_batchrequest", username="ida"), start_url())


@override_settings(CLAUDE_BATCHES=CONFIRM_ALL)
def test_above_a_limit_the_number_is_typed(root: Client) -> None:
    reviews(3)
    shown = shown_on(root)
    for typed in ("", "2", "3x"):
        refused = start(root, shown, rows=typed).content.decode()
        assert "Nothing was started: type 3, the number of rows, to confirm." in refused
        assert escape(shown) in refused
    assert not JobRun.objects.exists()
    assert start(root, shown, rows="3").status_code == 302
    assert JobRun.objects.count() == 1


@override_settings(CLAUDE_BATCHES=CONFIRM_ALL)
@pytest.mark.parametrize("forged", ["", "WyJ0YWctcmV2aWV3cyIsMSxmYWxzZV0:1xWLhZ:AAAA"])
def test_a_preview_that_was_not_shown_cannot_be_confirmed(root: Client, forged: str) -> None:
    reviews(3)
    answer = start(root, forged)
    assert "Nothing was started: look again at what would be sent." in said(answer)
    assert "Type the number of rows to confirm" in answer.content.decode()
    assert not JobRun.objects.exists()


@override_settings(CLAUDE_BATCHES=CONFIRM_ALL)
def test_what_was_shown_of_one_job_starts_no_other(root: Client) -> None:
    reviews(1)
    shown = shown_on(root)
    job("other-reviews")
    root.post(start_url("other-reviews"), {"_start": "Start", "shown": shown})
    job_registry.unregister("other-reviews")
    assert not JobRun.objects.exists()


def test_a_row_that_cannot_be_asked_is_named(root: Client) -> None:
    rows = reviews(2)

    def get_prompt(self: Any, review: Review) -> str:
        raise LookupError(f"no {HOSTILE}")

    job(get_prompt=get_prompt)
    shown = page(root, start_url())
    assert f"library.Review {rows[0].pk}: LookupError at tests.admin.runs.test_start_views, line " in shown
    assert escape(f"LookupError: no {HOSTILE}") in shown
    assert HOSTILE not in shown
    assert 'name="_start"' not in shown


def test_without_rows_there_is_nothing_to_start(root: Client) -> None:
    shown = page(root, start_url())
    assert "There is no row to ask about now" in shown
    assert 'name="_start"' not in shown


def test_an_account_that_the_settings_do_not_know_is_said(root: Client) -> None:
    reviews(1)
    shown = shown_on(root)
    job(account="elsewhere")
    assert "elsewhere" in said(start(root, shown))[-1]
    assert not JobRun.objects.exists()


def test_a_job_that_is_not_there_is_no_page(root: Client) -> None:
    assert root.get(start_url("absent")).status_code == 404
    assert root.post(start_url("absent"), {"_start": "1"}).status_code == 404


def test_of_many_rows_only_the_first_are_looked_at() -> None:
    reviews(40)
    seconds = 0.0

    def get_prompt(self: Any, review: Review) -> str:
        nonlocal seconds
        seconds += 0.25
        return "Tag this review"

    job(get_prompt=get_prompt)
    with mock.patch("time.monotonic", side_effect=lambda: seconds):
        found = look("tag-reviews", seconds=1.5)
    facts = dict(found.facts)
    assert (facts["Rows"], facts["Rows read"]) == ("40", "6")
    assert "In 1.5 seconds, the first 6 of 40 rows were read." in found.standing
    assert "Estimated cost of all rows, from those read" in facts
    assert found.seen == Seen(rows=40, needs_confirmation=False)


def test_the_estimate_is_not_known_if_no_row_was_read() -> None:
    reviews(3)
    found = look("tag-reviews", seconds=0)
    assert dict(found.facts)["Estimated cost of all rows, from those read"] == "not known"
    assert found.seen == Seen(rows=3, needs_confirmation=True)


def test_both_pages_make_few_queries(staff: Staff, ticking: AccountState, django_assert_max_num_queries: Any) -> None:
    reviews(20)
    JobRun.objects.bulk_create(JobRun(job="tag-reviews", state=RunState.FINISHED) for _ in range(500))
    client = staff("start_jobrun", "view_jobrun", "view_batchrequest")
    for address in (JOBS, start_url()):
        with django_assert_max_num_queries(10):
            page(client, address)


def odd_ones_raise(self: Any, review: Review) -> str:
    if review.text.endswith(("1", "3")):
        raise LookupError("no prompt")
    return review.text


def test_a_table_that_is_not_there_yet_is_said(root: Client) -> None:
    reviews(1)

    def get_prompt(self: Any, review: Review) -> str:
        raise ProgrammingError('relation "library_tag" does not exist')

    job(get_prompt=get_prompt, skip_unaskable=True)
    shown = page(root, start_url())
    assert "A run would stop at this error. Fix it first." in shown
    assert "ProgrammingError" in shown


def test_rows_that_a_run_would_leave_out_are_counted(root: Client) -> None:
    rows = reviews(5)
    job(get_prompt=odd_ones_raise)
    shown = page(root, start_url())
    assert "A run would stop at this error. Fix it first." in shown
    job(get_prompt=odd_ones_raise, skip_unaskable=True)
    shown = page(root, start_url())
    assert "3 rows would be asked." in shown
    assert f"2, the first is library.Review {rows[1].pk}: LookupError at {odd_ones_raise.__module__}, line " in shown
    assert "no prompt" not in shown


def test_what_the_model_refuses_is_said_before_a_start(root: Client) -> None:
    [row] = reviews(1)
    job(max_tokens=70_000)
    shown = page(root, start_url())
    assert (
        f"claude-haiku-4-5 refuses max_tokens above 64,000 (1 request, the first is library.Review {row.pk})" in shown
    )
