"""A job in the admin, in a real browser: dry run, start, progress, redelivery after a fix, end."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.models import JobRun, RunState
from tests.browser import office_jobs
from tests.browser.console import Console, everybody, staff
from tests.harness.library.models import Review

pytestmark = pytest.mark.browser

JOB = "shop-review-tags"
MILLISECONDS = 15_000


def see(page: Any, text: str) -> None:
    """Wait until the page, which refreshes automatically, shows this text."""
    page.get_by_text(text).first.wait_for()


def test_from_the_start_to_the_last_failed_delivery(console: Console) -> None:
    office_jobs.write_reviews(12)
    page, watch = console.log_in(everybody())
    page.set_default_timeout(MILLISECONDS)
    page.goto("/admin/")
    page.get_by_role("link", name="Runs", exact=True).first.click()
    page.get_by_role("link", name="Start a job").click()
    page.get_by_role("link", name=f"Start {JOB}").click()
    see(page, "12 rows would be asked.")
    see(page, "Request 3, as it would be sent")
    see(page, " by the prices of")
    assert not JobRun.objects.filter(job=JOB).exists()

    page.fill("[name=label]", "By <b>hand</b>")
    page.get_by_role("button", name="Start").click()
    see(page, "is started")
    see(page, "Being drafted")
    run = JobRun.objects.get(job=JOB)
    address = page.url

    office_jobs.advanced(run, console.claude, rounds=1)
    see(page, "0 of 1 batch has its results.")  # without a reload
    page.get_by_text("The run has moved on").wait_for()
    office_jobs.advanced(run, console.claude)
    see(page, "1 row raised an error in the job's code")
    see(page, 'LookupError: no tag "zip" in this shop')
    assert page.url == address
    page.locator("summary").first.click()
    see(page, "in on_result")

    office_jobs.ADDED.add(office_jobs.UNKNOWN)
    page.reload()
    page.get_by_role("button", name="Redeliver").click()
    see(page, "Nothing is sent to Anthropic.")
    page.locator(".dcb-confirmation .submit-row").get_by_role("button", name="Redeliver").click()
    see(page, "The failed deliveries of 1 run are redelivered shortly.")
    services.advance_run(run)
    page.reload()
    see(page, "Finished. 12 rows delivered.")
    assert page.locator(".dcb-count.dcb-delivered").inner_text().strip() == "12 delivered"
    assert page.get_by_role("button", name="Redeliver").count() == 0
    run.refresh_from_db()
    assert run.state == RunState.FINISHED
    assert list(Review.objects.values_list("effects", flat=True)) == [1] * 12
    assert watch.taken() == []
    page.context.close()


def test_who_may_only_look_is_offered_nothing(console: Console) -> None:
    run = JobRun.objects.create(job="shop-book-summaries", state=RunState.RUNNING, next_action_at=timezone.now())
    page, watch = console.log_in(staff("view_jobrun"))
    page.goto(f"/admin/django_claude_batches/jobrun/{run.pk}/change/")
    assert page.locator("[form=dcb-actions]").count() == 0
    page.goto("/admin/django_claude_batches/jobrun/jobs/")
    assert page.get_by_role("link", name="Start").count() == 0
    assert watch.taken() == []
    page.context.close()
