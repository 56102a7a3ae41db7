"""An account whose server is slow holds up no other one: what is asked of it, how often, and by how many at a time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from django.db import OperationalError, connection
from django.db.models import F
from django.utils import timezone

from django_claude_batches import services, tasks
from django_claude_batches.models import AccountState, MessageBatch, RemoteBatch, State
from django_claude_batches.models.due import is_work_due
from django_claude_batches.services.account_pauses import account_state
from django_claude_batches.services.audits.audit import audit_due, dispatch_due_audits
from django_claude_batches.services.engine import (
    accounts_at_work,
    advance_if_due,
    dispatch_due_batches,
    dispatch_due_polls,
    poll_if_due,
    tick,
)
from django_claude_batches.services.reconciliation.late_arrivals import dispatch_due_watches
from django_claude_batches.testing import Bend, ClaudeEmulator
from tests.harness.factories import draft, in_state, make_due, running
from tests.harness.selections import slow_but

pytestmark = [pytest.mark.django_db, pytest.mark.database, pytest.mark.usefixtures("quick", "accounts")]

ROOT = Path(__file__).parents[2]
SLOW = "a slow"
KEY = "sk-ant-api03-slow"
READ_TIMEOUT = 0.5
MINUTE = timedelta(minutes=1)
ZERO = timedelta(0)
# SQLite's clock has milliseconds, so a time less than one ago may be in its future.
JUST_NOW = timedelta(milliseconds=10)


@pytest.fixture
def accounts(claude: ClaudeEmulator, settings: Any) -> None:
    claude.add_key(KEY)
    slow = {"API_KEY": KEY, "BASE_URL": claude.url}
    default = {"API_KEY": claude.api_key, "BASE_URL": claude.url}
    settings.CLAUDE_BATCHES = {"KICK": False, "ACCOUNTS": {SLOW: slow, "default": default}}


def wait_no_longer(settings: Any, **slow: Any) -> None:
    """Have calls of the slow account time out soon; before, a busy machine would be too slow for that."""
    accounts = settings.CLAUDE_BATCHES["ACCOUNTS"]
    limits = {"TIMEOUTS": (5, READ_TIMEOUT), **slow}
    settings.CLAUDE_BATCHES = {
        "KICK": False,
        "CREATE_READ_TIMEOUT": READ_TIMEOUT,
        "ACCOUNTS": accounts | {SLOW: accounts[SLOW] | limits},
    }


def be_slow(claude: ClaudeEmulator, settings: Any, *verbs: str) -> None:
    wait_no_longer(settings)
    claude.fault("slow_answer", delay=3 * READ_TIMEOUT, times=None, key=KEY, **({"on": verbs} if verbs else {}))


def was_slow(ago: timedelta) -> None:
    """The last call that was too slow is so long ago."""
    account_state(SLOW)
    at = timezone.now() - ago
    AccountState.objects.filter(alias=SLOW).update(slow_since=at, slow_at=at)


def hold(batch: MessageBatch) -> None:
    """Another process works on it."""
    assert MessageBatch.objects.acquire(batch.pk)


def state() -> AccountState:
    return AccountState.objects.get(alias=SLOW)


def handed_out() -> list[int]:
    handed: list[int] = []
    dispatch_due_batches(handed.append, rest=ZERO)
    return handed


def in_progress() -> MessageBatch:
    batch = running(1, account=SLOW)
    make_due(batch)
    return batch


def ended(claude: ClaudeEmulator) -> MessageBatch:
    batch = in_progress()
    claude.finish()
    return services.advance(batch)  # fetched at once: again, when a test asks for it


class TestRemembering:
    """Whichever call it is that runs into a time limit."""

    STEPS: dict[str, Callable[[ClaudeEmulator], Any]] = {
        "list": lambda claude: services.submit(draft(1, account=SLOW)),
        "create": lambda claude: services.submit(draft(1, account=SLOW)),
        "retrieve": lambda claude: in_progress(),
        "cancel": lambda claude: services.cancel(in_progress()),
        "results": lambda claude: services.reingest(ended(claude)),
        "delete": lambda claude: services.delete_remote(ended(claude)),
    }

    @pytest.mark.parametrize("verb", slow_but(2, STEPS))
    def test_a_call_that_is_too_slow(self, claude: ClaudeEmulator, settings: Any, verb: str) -> None:
        batch = self.STEPS[verb](claude)
        assert not AccountState.objects.slow().exists()
        be_slow(claude, settings, verb)
        services.advance(batch)
        assert batch.last_error
        assert [slow.alias for slow in AccountState.objects.cooling_down()] == [SLOW]
        assert state().slow_since <= state().slow_at

    def test_a_stream_that_stops(self, claude: ClaudeEmulator, settings: Any) -> None:
        batch = services.reingest(ended(claude))
        wait_no_longer(settings)
        claude.fault("trickle", piece_bytes=50, pause=3 * READ_TIMEOUT, times=None, on="results", key=KEY)
        services.advance(batch)
        assert AccountState.objects.cooling_down().exists()

    def test_an_answer_that_drips(self, claude: ClaudeEmulator, settings: Any) -> None:
        batch = in_progress()
        wait_no_longer(settings, TIMEOUTS=(5, 5), TOTAL_TIMEOUT=3 * READ_TIMEOUT)
        claude.bend(Bend(body="dripped", seconds=READ_TIMEOUT / 2, key=KEY))
        services.advance(batch)
        assert f"within {3 * READ_TIMEOUT:g} s" in batch.last_error
        assert AccountState.objects.cooling_down().exists()

    def test_an_error_that_comes_in_time_is_none(self, claude: ClaudeEmulator) -> None:
        batch = in_progress()
        claude.fault("server_error", times=None, key=KEY)
        services.advance(batch)
        assert batch.last_error
        assert not AccountState.objects.slow().exists()

    def test_since_when(self, claude: ClaudeEmulator, settings: Any) -> None:
        batch = in_progress()
        be_slow(claude, settings)
        for ago, is_longer_ago in [(9 * MINUTE, True), (11 * MINUTE, False)]:
            was_slow(ago)
            services.advance(batch)
            assert (timezone.now() - state().slow_since > MINUTE) == is_longer_ago
            assert timezone.now() - state().slow_at < MINUTE

    def test_a_poll_makes_no_other_call_then(self, claude: ClaudeEmulator, settings: Any) -> None:
        """Three batches that the listing does not show are asked for one by one: of the first one it is enough."""
        for _ in range(3):
            in_progress()
        self.only_one_is_asked_for(claude, settings, lambda: tick(lambda pk: None))

    def test_a_search_makes_no_other_call_then(self, claude: ClaudeEmulator, settings: Any) -> None:
        lost = in_state(State.UNCERTAIN, account=SLOW)
        for _ in range(3):
            maybe = {"remote_id": claude.add_stranger(1), "status": "in_progress"}
            RemoteBatch.objects.create(account=SLOW, created_at=claude.now(), first_seen_at=claude.now(), **maybe)
        self.only_one_is_asked_for(claude, settings, lambda: services.advance(lost))

    def only_one_is_asked_for(self, claude: ClaudeEmulator, settings: Any, step: Callable[[], object]) -> None:
        claude.fault("empty_listing", times=None, key=KEY)
        be_slow(claude, settings, "retrieve")
        asked = len(claude.requests)
        step()
        asked_for = {request.path.partition("?")[0] for request in claude.requests[asked:]}
        assert len(asked_for - {"/v1/messages/batches"}) == 1


@pytest.fixture
def healthy(claude: ClaudeEmulator) -> MessageBatch:
    """A batch of the other account, to be sent."""
    return services.submit(draft(1))


class TestPausing:
    """For a minute nothing is asked."""

    def test_a_task_of_it_does_nothing_and_counts_no_failure(self, claude: ClaudeEmulator) -> None:
        batch = services.submit(draft(1, account=SLOW))
        was_slow(JUST_NOW)
        advance_if_due(batch.pk)
        batch.refresh_from_db()
        assert (batch.state, batch.failures, batch.last_error, batch.lease_token) == (State.QUEUED, 0, "", "")
        assert timedelta(seconds=40) < batch.next_action_at - timezone.now() < timedelta(seconds=80)
        assert claude.requests == []

    def test_nothing_of_it_is_handed_out(self, claude: ClaudeEmulator, healthy: MessageBatch) -> None:
        services.submit(draft(1, account=SLOW)), in_progress()
        asked = len(claude.requests)
        was_slow(JUST_NOW)
        polled: list[str] = []
        dispatch_due_polls(polled.append, rest=ZERO)
        tick(lambda pk: None)
        assert (handed_out(), polled, len(claude.requests)) == ([healthy.pk], [], asked)
        services.advance(healthy)
        assert not is_work_due()

    def test_then_it_is(self, claude: ClaudeEmulator) -> None:
        waiting, runs = services.submit(draft(1, account=SLOW)), in_progress()
        was_slow(MINUTE + timedelta(seconds=1))
        assert is_work_due()
        polled: list[str] = []
        dispatch_due_polls(polled.append, rest=ZERO)
        assert (handed_out(), polled) == ([waiting.pk], [SLOW])
        claude.finish()
        tick(advance_if_due)
        assert set(MessageBatch.objects.values_list("state", flat=True)) == {State.IN_PROGRESS, State.INGESTED}
        runs.refresh_from_db()
        assert runs.state == State.INGESTED

    def test_what_a_person_asks_for_is_done(self, claude: ClaudeEmulator) -> None:
        batch = services.submit(draft(1, account=SLOW))
        was_slow(JUST_NOW)
        assert services.advance(batch).state == State.IN_PROGRESS

    def test_neither_is_it_watched_nor_audited(self, claude: ClaudeEmulator) -> None:
        was_slow(JUST_NOW)
        account_state("default")
        watched: list[str] = []
        dispatch_due_watches(watched.append)
        assert watched == ["default"]
        assert [report.account for report in audit_due()] == ["default"]
        was_slow(2 * MINUTE)
        dispatch_due_watches(watched.append)
        dispatch_due_audits(watched.append)
        assert watched.count(SLOW) == 2


class TestOneAtATime:
    """For ten minutes one worker works for it."""

    @pytest.fixture(autouse=True)
    def slow(self, claude: ClaudeEmulator) -> None:
        was_slow(2 * MINUTE)

    def test_while_a_batch_is_held(self, claude: ClaudeEmulator, healthy: MessageBatch) -> None:
        one, other, runs = (
            services.submit(draft(1, account=SLOW)),
            services.submit(draft(1, account=SLOW)),
            in_progress(),
        )
        hold(one)
        asked = len(claude.requests)
        tick(advance_if_due)
        advance_if_due(other.pk)
        assert len(claude.requests) == asked + 2, "a listing and a create call of the other account"
        other.refresh_from_db()
        assert (other.state, other.failures) == (State.QUEUED, 0)
        assert other.next_action_at > timezone.now()
        for batch in (one, other, runs):
            make_due(batch)
        tick(advance_if_due)
        assert set(MessageBatch.objects.values_list("state", flat=True)) == {State.IN_PROGRESS}

    def test_while_it_is_polled(self, claude: ClaudeEmulator, healthy: MessageBatch) -> None:
        batch = services.submit(draft(1, account=SLOW))
        token = AccountState.objects.acquire(state().pk)
        assert handed_out() == [healthy.pk]
        advance_if_due(batch.pk)
        assert claude.requests == []
        make_due(batch)
        AccountState.objects.release(state().pk, str(token))
        assert handed_out() == [batch.pk, healthy.pk]

    def test_but_no_longer(self, claude: ClaudeEmulator) -> None:
        one, other = services.submit(draft(1, account=SLOW)), services.cancel(in_progress())
        hold(one)
        was_slow(11 * MINUTE)
        assert handed_out() == [other.pk]
        advance_if_due(other.pk)
        assert claude.requests[-1].method == "POST"


class TestCreating:
    """A create call may be silent for ten minutes: of several accounts each makes one at a time."""

    @pytest.fixture
    def in_flight(self) -> MessageBatch:
        """A batch whose create call another process makes."""
        batch = in_state(State.SUBMITTING, account=SLOW)
        hold(batch)
        assert AccountState.objects.begin_create(SLOW, batch.pk)
        return batch

    def sent(self, account: str = SLOW) -> MessageBatch:
        batch = services.submit(draft(1, account=account))
        advance_if_due(batch.pk)
        batch.refresh_from_db()
        return batch

    def test_beside_another(self, claude: ClaudeEmulator, in_flight: MessageBatch) -> None:
        waits = self.sent()
        assert (waits.state, waits.failures, waits.lease_token) == (State.QUEUED, 0, "")
        assert waits.last_error == "It waits for another create call of its account to end."
        assert MINUTE < waits.next_action_at - timezone.now() < 3 * MINUTE
        assert (claude.requests, waits.attempts.count()) == ([], 0)
        assert self.sent("default").state == State.IN_PROGRESS

    def test_when_it_is_over(self, claude: ClaudeEmulator, in_flight: MessageBatch) -> None:
        first, second = self.sent(), self.sent()
        AccountState.objects.end_create(SLOW, in_flight.pk)
        third = self.sent()
        assert (third.state, handed_out()) == (State.IN_PROGRESS, [first.pk])
        advance_if_due(first.pk)
        first.refresh_from_db()
        assert (first.state, first.last_error, handed_out()) == (State.IN_PROGRESS, "", [second.pk])

    def test_the_next_one_needs_no_tick(self, claude: ClaudeEmulator, in_flight: MessageBatch) -> None:
        waits = self.sent()
        AccountState.objects.end_create(SLOW, in_flight.pk)
        goes_first = services.submit(draft(1, account=SLOW))
        with Celery("tests", broker="memory://", set_as_current=True) as app, app.connection() as connection:
            queue = connection.SimpleQueue(app.conf.task_default_queue)
            queue.clear()
            tasks.advance(goes_first.pk)
            assert queue.get(timeout=5).headers["argsrepr"] == f"({waits.pk},)"

    def test_after_a_worker_was_killed(self, claude: ClaudeEmulator, in_flight: MessageBatch) -> None:
        """It counts for a minute and a half after its last sign of life."""
        AccountState.objects.update(create_until=F("create_until") - timedelta(seconds=88))
        assert self.sent().state == State.QUEUED
        AccountState.objects.update(create_until=F("create_until") - timedelta(seconds=3))
        assert self.sent().state == State.IN_PROGRESS

    @pytest.mark.parametrize("fault", ["lost_answer", "server_error", "rate_limited"])
    def test_after_any_end(self, claude: ClaudeEmulator, fault: str) -> None:
        claude.fault(fault, on="create")
        assert self.sent().state != State.IN_PROGRESS
        AccountState.objects.update(paused_at=None)
        assert self.sent().state == State.IN_PROGRESS

    def test_after_the_clock_was_set_back(self, claude: ClaudeEmulator, in_flight: MessageBatch) -> None:
        AccountState.objects.update(create_until=timezone.now() + timedelta(hours=6))
        assert self.sent().state == State.IN_PROGRESS

    @pytest.mark.django_db(transaction=True)
    def test_an_accepted_batch_stays_accepted_if_the_end_cannot_be_written(self, claude: ClaudeEmulator) -> None:
        def fail(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            if "create_batch" in sql and params and params[0] is None:
                raise OperationalError("the database went away")
            return execute(sql, params, many, context)

        with connection.execute_wrapper(fail):
            batch = self.sent()
        assert (batch.state, batch.failures, batch.last_error) == (State.IN_PROGRESS, 0, "")

    def test_of_an_account_that_is_paused_none_is_due(self, claude: ClaudeEmulator, in_flight: MessageBatch) -> None:
        """It would be handed out over and over."""
        waits, other = self.sent(), self.sent()
        AccountState.objects.filter(alias=SLOW).update(paused_at=timezone.now(), pause_reason="The key was refused.")
        AccountState.objects.end_create(SLOW, in_flight.pk)
        for batch in (waits, other):
            make_due(batch)
            advance_if_due(batch.pk)
            batch.refresh_from_db()
            assert (batch.state, batch.last_error) == (State.QUEUED, "")
        assert (handed_out(), claude.requests) == ([], [])

    def test_what_went_wrong_before_is_still_said(self, claude: ClaudeEmulator, in_flight: MessageBatch) -> None:
        batch = services.submit(draft(1, account=SLOW))
        MessageBatch.objects.filter(pk=batch.pk).update(last_error="A full disk", failures=2)
        advance_if_due(batch.pk)
        batch.refresh_from_db()
        assert (batch.state, batch.last_error, batch.failures) == (State.QUEUED, "A full disk", 2)

    def test_of_a_single_account_any_number(self, claude: ClaudeEmulator, settings: Any) -> None:
        only = {"default": settings.CLAUDE_BATCHES["ACCOUNTS"]["default"]}
        settings.CLAUDE_BATCHES = {"KICK": False, "ACCOUNTS": only}
        assert AccountState.objects.begin_create("default", draft(1).pk)
        assert self.sent("default").state == State.IN_PROGRESS

    def test_what_a_person_asks_for_is_done(self, claude: ClaudeEmulator, in_flight: MessageBatch) -> None:
        assert services.advance(services.submit(draft(1, account=SLOW))).state == State.IN_PROGRESS
        assert AccountState.objects.get(alias=SLOW).create_batch == in_flight.pk


class TestHandingOut:
    """A tick of a worker asks no server."""

    def test_the_tasks(self, claude: ClaudeEmulator) -> None:
        waiting, runs = services.submit(draft(1, account=SLOW)), in_progress()
        asked = len(claude.requests)
        with Celery("tests", broker="memory://", set_as_current=True) as app, app.connection() as connection:
            queue = connection.SimpleQueue(app.conf.task_default_queue)
            queue.clear()
            tasks.tick()
            messages = [queue.get(timeout=5) for _ in range(queue.qsize())]
        assert len(claude.requests) == asked
        found = {(message.headers["task"], message.headers["argsrepr"]) for message in messages}
        assert found == {(tasks.advance.name, f"({waiting.pk},)"), (tasks.poll.name, f"({SLOW!r},)")}
        claude.finish()
        poll_if_due(SLOW)
        runs.refresh_from_db()
        assert (runs.state, handed_out()) == (State.ENDED, [waiting.pk, runs.pk])

    @pytest.mark.slow
    def test_polls_do_not_pile_up(self, claude: ClaudeEmulator) -> None:
        in_progress()  # due for an hour
        polled: list[str] = []

        def dispatch_due(after: timedelta) -> int:
            AccountState.objects.update(next_poll_at=F("next_poll_at") - after)
            return dispatch_due_polls(polled.append, rest=timedelta(seconds=20))

        minutes = [dispatch_due(MINUTE) for _ in range(60)]
        assert [at for at, count in enumerate(minutes) if count] == [0, 1, 2, 4, 7, 13, 24, 39, 54]
        poll_if_due(SLOW)
        make_due(MessageBatch.objects.get())
        assert dispatch_due(ZERO) == 1, "since it was polled"

    def test_an_account_may_have_a_queue_of_its_own(self) -> None:
        """With the router of the documentation."""
        page = (ROOT / "docs/topics/slow-accounts.md").read_text()
        code: dict[str, Any] = {}
        exec(page.partition(":caption: config/routes.py")[2].partition("```")[0], code)
        slow, other = draft(1, account="gateway"), draft(1)
        routes = [code["by_account"], {"django_claude_batches.*": {"queue": "claude"}}]
        with Celery("tests", broker="memory://", set_as_current=True, task_routes=routes) as app:
            for task, argument in [(tasks.advance, slow.pk), (tasks.advance, other.pk), (tasks.poll, "gateway")]:
                task.apply_async((argument,))
            tasks.audit.apply_async()
            with app.connection() as connection:
                queues = {name: connection.SimpleQueue(name) for name in ("claude-gateway", "claude")}
                sent = {name: [queue.get(timeout=5) for _ in range(queue.qsize())] for name, queue in queues.items()}
        found = {name: {message.headers["argsrepr"] for message in messages} for name, messages in sent.items()}
        assert found == {"claude-gateway": {f"({slow.pk},)", "('gateway',)"}, "claude": {f"({other.pk},)", "()"}}


def test_a_clock_that_was_set_back_closes_no_account(claude: ClaudeEmulator) -> None:
    was_slow(timedelta(hours=-6))
    batch = services.submit(draft(1, account=SLOW))
    advance_if_due(batch.pk)
    batch.refresh_from_db()
    assert batch.state == State.IN_PROGRESS


def test_a_key_is_not_asked_for_inside_a_transaction(claude: ClaudeEmulator, settings: Any) -> None:
    """A vault may be slow, and what is locked then stops others."""
    depths: list[int] = []

    def vault() -> str:
        depths.append(len(connection.savepoint_ids))
        return claude.api_key

    outside = len(connection.savepoint_ids)
    settings.CLAUDE_BATCHES = {"KICK": False, "ACCOUNTS": {SLOW: {"API_KEY": vault, "BASE_URL": claude.url}}}
    batch = services.advance(services.submit(draft(1, account=SLOW)))
    assert batch.state == State.IN_PROGRESS
    assert {*depths} == {outside}


def test_batches_of_an_account_that_was_removed_are_at_work_too(settings: Any) -> None:
    services.submit(draft(1, account=SLOW))
    settings.CLAUDE_BATCHES = {"KICK": False}
    assert SLOW in accounts_at_work()
