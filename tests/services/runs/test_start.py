from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from celery import current_app
from django.contrib.auth.models import User
from django.db import transaction

from django_claude_batches import conf, services
from django_claude_batches.exceptions import AlreadyRunning, InvalidTransition, UnknownJob
from django_claude_batches.models import JobRun, MessageBatch, RunState
from django_claude_batches.services.runs.drive import drive_if_due
from django_claude_batches.services.runs.start import start_job_if_free
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.shop import job, over, reviews

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def test_a_start_is_a_row_and_nothing_more() -> None:
    reviews(3)
    user = User.objects.create(username="ada")
    run = job().start(label="nightly", by=user)
    stored = JobRun.objects.get()
    assert (run, run.state, run.label, run.account) == (stored, RunState.DRAFTING, "nightly", "default")
    assert (stored.created_by, stored.created_by_name) == (user, "ada")
    assert run.next_action_at == stored.next_action_at is not None
    assert JobRun.objects.due().get() == run
    assert not MessageBatch.objects.exists()


def test_the_second_start_is_refused_until_the_first_run_is_over(claude: ClaudeEmulator) -> None:
    reviews(3)
    first = job().start(label="nightly")
    with pytest.raises(AlreadyRunning) as refused:
        job().start()
    assert refused.value.run == first
    assert isinstance(refused.value, InvalidTransition)
    assert str(refused.value).startswith(f'Job "tag-reviews" is running already: run #{first.pk} "nightly" of tag-rev')
    assert start_job_if_free("tag-reviews") is None
    over(first, claude)
    assert first.state == RunState.FINISHED
    second = start_job_if_free("tag-reviews")
    assert second is not None
    services.cancel_run(second)
    with pytest.raises(AlreadyRunning):
        job().start()
    drive_if_due(second.pk)
    assert job().start().pk > second.pk


def test_a_run_that_is_paused_holds_its_place() -> None:
    services.pause_run(job().start())
    with pytest.raises(AlreadyRunning):
        job().start()


@pytest.mark.slow
def test_runs_of_a_job_that_allows_it_overlap(claude: ClaudeEmulator) -> None:
    reviews(3)
    overlapping = job(allow_overlap=True)
    runs = [overlapping.start() for _ in range(3)]
    for run in runs:
        over(run, claude)
    assert {run.state for run in runs} == {RunState.FINISHED}
    assert [run.row_count for run in runs] == [3, 0, 0]


def test_a_start_inside_a_transaction_that_is_rolled_back() -> None:
    with transaction.atomic():
        job().start()
        transaction.set_rollback(True)
    assert not JobRun.objects.exists()
    with transaction.atomic():
        job().start()
        with pytest.raises(AlreadyRunning):
            job().start()
        reviews(1)  # the transaction goes on
    assert JobRun.objects.count() == 1


@pytest.mark.usefixtures("no_jobs")
def test_no_such_job() -> None:
    with pytest.raises(UnknownJob, match=r"\(known: none\)\. Declare jobs in an app's module claude_jobs"):
        services.start_job("tag-reviews")
    job("tag-reviews"), job("tag-books")
    with pytest.raises(UnknownJob, match=r'No job is named "tag-review" here \(known: tag-books, tag-reviews\)'):
        services.start_job("tag-review")


def test_no_such_account() -> None:
    with pytest.raises(conf.ConfigurationError, match='Unknown account "other"'):
        job(account="other").start()
    assert not JobRun.objects.exists()


def test_a_start_wakes_a_worker_which_does_everything_until_it_is_sent(
    claude: ClaudeEmulator,
    settings: Any,
    django_capture_on_commit_callbacks: Callable[..., AbstractContextManager[list[Any]]],
) -> None:
    reviews(30)
    settings.CLAUDE_BATCHES = {"KICK": True}
    eager = current_app.conf.task_always_eager
    current_app.conf.task_always_eager = True
    try:
        with django_capture_on_commit_callbacks(execute=True):
            run = job().start()
    finally:
        current_app.conf.task_always_eager = eager
    run.refresh_from_db()
    assert (run.state, run.row_count) == (RunState.RUNNING, 30)
    assert [len(batch.requests) for batch in claude.batches] == [30]
