"""Runs that need attention: the notice above every page, the filter, and the page of the run."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.models import JobRun, RunState, State
from django_claude_batches.services.runs.drive import drive
from django_claude_batches.services.runs.throttle import submit_pending
from django_claude_batches.testing import ClaudeEmulator
from tests.admin.admin_pages import BATCHES, RESULTS, RUNS, STILL, in_state, page, url
from tests.admin.conftest import Staff
from tests.harness.selections import slow_but
from tests.harness.shop import deliver_all, fetched, job, over, reviews

pytestmark = pytest.mark.django_db

WAITS = "1 run needs attention"


@pytest.fixture
def run() -> JobRun:
    reviews(2)
    return job().start()


@pytest.mark.usefixtures("run")
def test_a_start_without_a_worker_is_said(root: Client) -> None:
    assert STILL in page(root, url(RUNS))


def test_a_delivery_without_a_worker_is_said(run: JobRun, root: Client, claude: ClaudeEmulator) -> None:
    fetched(run, claude)
    JobRun.objects.update(next_action_at=timezone.now() + timedelta(hours=1))
    assert STILL in page(root, url(RUNS))
    deliver_all()
    JobRun.objects.update(next_action_at=timezone.now() + timedelta(hours=1))
    assert STILL not in page(root, url(RUNS))


@pytest.mark.usefixtures("ticking")
def test_a_paused_run_is_said_with_a_link(run: JobRun, root: Client, staff: Staff) -> None:
    assert WAITS not in page(root, url(BATCHES))
    services.pause_run(run)
    address = f"{url(RUNS)}?attention=yes"
    assert f'<a href="{address}">Show them</a>' in page(root, url(BATCHES))
    assert url(RUNS, "change", run.pk) in page(root, address)
    shown = page(staff("view_batchresult"), url(RESULTS))
    assert (WAITS in shown, address in shown) == (True, False)
    JobRun.objects.filter(pk=run.pk).update(state=RunState.FINISHED, next_action_at=None, exclusive=None)
    assert WAITS not in page(root, url(BATCHES))


@pytest.mark.usefixtures("ticking")
@pytest.mark.parametrize("state", slow_but(1, [State.REJECTED, State.HELD, State.DRAFT]))
def test_a_batch_that_was_not_taken_holds_its_run(run: JobRun, root: Client, state: State) -> None:
    drive(run.pk)
    submit_pending()
    batch = run.batches.get()
    assert WAITS not in page(root, url(RUNS))
    in_state(batch, state, next_action_at=None)
    assert WAITS in page(root, url(RUNS))
    assert url(RUNS, "change", run.pk) in page(root, url(RUNS), attention="yes")
    shown = page(root, url(RUNS, "change", run.pk))
    assert "Submit the batches that were not accepted, or cancel the run." in shown
    services.cancel_run(run)
    assert WAITS not in page(root, url(RUNS))
    assert "Submit the batches" not in page(root, url(RUNS, "change", run.pk))


def test_a_draft_that_waits_for_room_holds_nothing(run: JobRun, root: Client) -> None:
    drive(run.pk)
    assert run.batches.get().state == State.DRAFT
    assert WAITS not in page(root, url(RUNS))
    assert "Submit the batches" not in page(root, url(RUNS, "change", run.pk))


def test_rows_that_were_never_sent_are_said_when_it_is_over(run: JobRun, root: Client, claude: ClaudeEmulator) -> None:
    drive(run.pk)
    assert "under way" in page(root, url(RUNS, "change", run.pk))
    services.cancel_run(run)
    over(run, claude)
    shown = page(root, url(RUNS, "change", run.pk))
    assert ("not asked" in shown, "under way" in shown) == (True, False)


@pytest.mark.usefixtures("ticking")
def test_a_run_needs_attention_after_three_failures(run: JobRun, root: Client) -> None:
    JobRun.objects.update(last_error="OperationalError: the connection was lost", failures=1)
    for failures, is_said in [(1, False), (3, True)]:
        JobRun.objects.update(failures=failures)
        assert (WAITS in page(root, url(RUNS))) == is_said
        assert (url(RUNS, "change", run.pk) in page(root, url(RUNS), attention="yes")) == is_said
