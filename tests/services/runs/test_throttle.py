"""Drafts of runs, as the account's queue has room for them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.signals import post_save
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.models import BatchEvent, JobRun, MessageBatch, RunState, State
from django_claude_batches.services.runs.batch_builder import BatchBuilder
from django_claude_batches.services.runs.throttle import submit_pending
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import draft, in_state, make_due, prepared
from tests.harness.library.models import Review
from tests.harness.relay import Relay, refuse
from tests.harness.selections import slow_but
from tests.harness.shop import job, over, reviews

pytestmark = [pytest.mark.django_db, pytest.mark.database]

ACCOUNTS = {"default": {}, "other": {}}


def drafted(*sizes: int, account: str = "default", name: str = "tag-reviews", **columns: Any) -> JobRun:
    """A run with drafted batches of these sizes, of a job of its own account."""
    job(name, account=account)
    due = {"state": RunState.RUNNING, "next_action_at": timezone.now()}
    run = JobRun.objects.create(job=name, account=account, **{**due, **columns})
    for size in sizes:
        filling = BatchBuilder(run, attempt=1, most=1000, using="default")
        for number in range(size):
            filling.add(prepared(number), ())
        filling.close()
    return run


def queued(run: JobRun) -> list[int]:
    return list(run.batches.filter(state=State.QUEUED).order_by("pk").values_list("request_count", flat=True))


def test_as_many_as_have_room() -> None:
    run = drafted(4, 4, 4)
    assert submit_pending(10) == 2
    assert queued(run) == [4, 4]
    assert submit_pending(10) == 0
    assert submit_pending(12) == 1
    assert run.batches.filter(submitted_by_run_at__isnull=True).count() == 0


def test_the_limit_is_the_settings(settings: Any) -> None:
    settings.CLAUDE_BATCHES = {"KICK": False, "MAX_IN_FLIGHT_REQUESTS": 8}
    run = drafted(4, 4, 4)
    assert submit_pending() == 2
    settings.CLAUDE_BATCHES = {"KICK": False, "MAX_IN_FLIGHT_REQUESTS": None}
    assert submit_pending() == 1
    assert queued(run) == [4, 4, 4]


@pytest.mark.parametrize(
    ("state", "counts"),
    slow_but(
        2,
        [
            (State.QUEUED, True),
            (State.SUBMITTING, True),
            (State.UNCERTAIN, True),
            (State.IN_PROGRESS, True),
            (State.CANCELING, True),
            (State.DRAFT, False),
            (State.REJECTED, False),
            (State.HELD, False),
            (State.ENDED, False),
            (State.INCOMPLETE, False),
            (State.INGESTED, False),
            (State.LOST, False),
            (State.ABANDONED, False),
        ],
    ),
)
def test_batches_of_no_run_count_while_they_are_in_the_queue(state: State, counts: bool) -> None:
    in_state(state, request_count=7)
    assert submit_pending(10) == 0
    drafted(4)
    assert submit_pending(10) == (0 if counts else 1)
    assert submit_pending(11) == (1 if counts else 0)


def test_each_account_has_its_own_queue(settings: Any) -> None:
    settings.CLAUDE_BATCHES = {"KICK": False, "ACCOUNTS": ACCOUNTS}
    services.submit(draft(8))
    here, there = drafted(4), drafted(4, 4, account="other", name="elsewhere")
    assert submit_pending(10) == 2
    assert (queued(here), queued(there)) == ([], [4, 4])


def test_the_oldest_run_first_then_the_one_with_least_in_flight() -> None:
    old = timezone.now() - timedelta(hours=1)
    newer, older = drafted(2, 2, 2, 2), drafted(2, 2, 2, 2, started_at=old)
    assert submit_pending(2) == 1
    assert (len(queued(older)), len(queued(newer))) == (1, 0)
    assert submit_pending(4) == 1
    assert (len(queued(older)), len(queued(newer))) == (1, 1)
    assert submit_pending(10) == 3
    assert (len(queued(older)), len(queued(newer))) == (3, 2)


def test_small_ones_do_not_pass_a_large_one_whose_turn_it_is() -> None:
    services.submit(draft(3))
    large = drafted(9, started_at=timezone.now() - timedelta(hours=1))
    small = drafted(1)
    assert submit_pending(10) == 0
    MessageBatch.objects.filter(run=None).update(state=State.DRAFT, next_action_at=None, queued_at=None)
    assert submit_pending(10) == 2
    assert (queued(large), queued(small)) == ([9], [1])


def test_one_larger_than_the_queue_goes_alone() -> None:
    plain = services.submit(draft(1))
    run = drafted(20, 1)
    assert submit_pending(10) == 0
    services.cancel(plain)
    assert submit_pending(10) == 1
    assert queued(run) == [20]
    assert submit_pending(10) == 0


@pytest.mark.parametrize(
    "columns",
    [
        {"paused_at": timezone.now()},
        {"state": RunState.CANCELING},
        {"state": RunState.CANCELED},
        {"state": RunState.FINISHED},
    ],
)
def test_a_run_that_is_paused_or_not_at_work_releases_nothing(columns: dict[str, Any]) -> None:
    run = drafted(4, **columns)
    assert submit_pending() == 0
    assert queued(run) == []


def test_pausing_takes_back_what_resuming_releases_again() -> None:
    run = drafted(4, 4)
    submit_pending()
    services.pause_run(run)
    assert queued(run) == []
    assert submit_pending() == 0
    services.resume_run(run)
    assert submit_pending() == 2


def test_what_a_person_sent_again_knowingly_is_released_again_too() -> None:
    run = drafted(4, 4)
    run.batches.order_by("pk")[:1].get().move(State.HELD, allowed={State.DRAFT}, may_have_been_billed=True)
    held = run.batches.get(state=State.HELD)
    services.submit(held, allow_duplicate=True)
    services.pause_run(run)
    assert run.batches.filter(state=State.DRAFT).count() == 2
    services.resume_run(run)
    assert submit_pending() == 2


def test_what_is_queued_when_its_run_is_paused_by_itself_is_not_sent(claude: ClaudeEmulator) -> None:
    """By a worker that does not know its job, or by a handler that kills: nobody takes its batches back."""
    run = drafted(2, 2)
    submit_pending()
    assert run.pause("for a test")
    for batch in run.batches.all():
        services.advance(batch)
        assert (batch.state, batch.submitted_by_run_at) == (State.DRAFT, None)
        assert batch.events.get(what="taken_back").text == "Its run is paused."
    assert claude.ledger()["creates"] == []
    services.resume_run(run)
    assert submit_pending() == 2
    for batch in run.batches.all():
        services.advance(batch)
    assert len(claude.ledger()["creates"]) == 2


def test_what_is_queued_again_when_its_run_is_paused_is_not_sent(claude: ClaudeEmulator) -> None:
    run = drafted(2)
    submit_pending()
    batch = run.batches.get()
    with Relay(claude.url) as relay:
        relay.on("POST", "/batches", refuse(529, "overloaded_error"))
        services.advance(batch)
        assert batch.state == State.QUEUED
        run.pause("for a test")
        make_due(batch)
        services.advance(batch)
        assert (batch.state, relay.calls("POST", "/batches")) == (State.DRAFT, 1)


def test_nothing_of_a_run_that_is_being_canceled_is_sent_until_it_is_over(claude: ClaudeEmulator) -> None:
    run = drafted(2)
    submit_pending()
    JobRun.objects.update(state=RunState.CANCELING)
    batch = run.batches.get()
    services.advance(batch)
    assert (batch.state, claude.ledger()["creates"]) == (State.DRAFT, [])
    JobRun.objects.update(state=RunState.CANCELED, next_action_at=None)
    services.advance(services.submit(batch))
    assert batch.state == State.IN_PROGRESS


def test_pausing_leaves_alone_what_a_worker_begins_to_send_meanwhile() -> None:
    run = drafted(4, 4)
    submit_pending()
    sent = run.batches.order_by("pk").last()
    assert sent is not None

    def begin(**signal: Any) -> None:
        run.batches.filter(pk=sent.pk).update(state=State.SUBMITTING)

    post_save.connect(begin, sender=BatchEvent)
    try:
        services.pause_run(run)
    finally:
        post_save.disconnect(begin, sender=BatchEvent)
    sent.refresh_from_db()
    assert (sent.state, sent.cancel_requested_at, queued(run)) == (State.SUBMITTING, None, [])


def test_what_is_taken_back_by_hand_is_not_released_again() -> None:
    run = drafted(4, 4)
    submit_pending()
    first, second = run.batches.order_by("pk")
    services.cancel(first)
    assert submit_pending() == 0
    services.pause_run(run)
    services.resume_run(run)
    assert submit_pending() == 1
    second.refresh_from_db()
    assert (second.state, queued(run)) == (State.QUEUED, [4])
    services.submit(first)
    assert queued(run) == [4, 4]


def test_an_account_that_is_gone_pauses_its_runs_and_no_others(settings: Any) -> None:
    settings.CLAUDE_BATCHES = {"KICK": False, "ACCOUNTS": ACCOUNTS}
    gone, here = drafted(4, account="other", name="elsewhere"), drafted(4)
    settings.CLAUDE_BATCHES = {"KICK": False}
    assert submit_pending() == 1
    gone.refresh_from_db()
    assert gone.pause_reason.startswith('Unknown account "other"')
    assert queued(here) == [4]
    settings.CLAUDE_BATCHES = {"KICK": False, "ACCOUNTS": ACCOUNTS}
    services.resume_run(gone)
    assert submit_pending() == 1


@pytest.mark.parametrize("options", slow_but(1, [{}, {"retry_after": None}]))
def test_a_queue_that_is_full_at_anthropic_is_waited_for(claude: ClaudeEmulator, options: dict[str, Any]) -> None:
    reviews(6)
    claude.fault("rate_limited", on="create", times=None, **options)
    run = job().start()
    services.advance_run(run)
    batch = run.batches.get()
    assert (batch.state, len(claude.batches)) == (State.QUEUED, 0)
    assert "429" in batch.last_error
    services.advance(batch)
    assert (batch.state, len(claude.batches)) == (State.QUEUED, 0)
    claude.clear_faults()
    make_due(batch)
    over(run, claude)
    assert run.state == RunState.FINISHED
    assert [len(batch.requests) for batch in claude.batches] == [6]
    assert set(Review.objects.values_list("effects", flat=True)) == {1}


@pytest.mark.slow
def test_a_run_larger_than_the_queue_goes_through_it_piece_by_piece(claude: ClaudeEmulator, settings: Any) -> None:
    settings.CLAUDE_BATCHES = {"KICK": False, "MAX_IN_FLIGHT_REQUESTS": 10}
    reviews(35)
    run = job().start()
    most = []
    for _day in range(6):
        services.advance_run(run)
        most.append(sum(len(batch.requests) for batch in claude.batches if batch.processing_status != "ended"))
        claude.finish()
    assert run.state == RunState.FINISHED
    assert most == [10, 10, 10, 5, 0, 0]
    assert list(Review.objects.values_list("effects", flat=True)) == [1] * 35


def test_many_waiting_runs_cost_no_query_each() -> None:
    services.submit(draft(1))
    drafted(2)
    counts = []
    for number in range(5):
        with CaptureQueriesContext(connection) as queries:
            assert submit_pending(1) == 0
        counts.append(len(queries))
        drafted(2, name=f"job-{number}")
    assert len(set(counts[1:])) == 1
