"""Messages: which tick does its work, when a row whose message nobody took is sent another, what a pile costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from celery import Celery
from celery.signals import before_task_publish
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_claude_batches import services, tasks
from django_claude_batches.models import AccountState, BatchUpload, DeliveryChunk, JobRun, MessageBatch, State
from django_claude_batches.schedule import BEAT_SCHEDULE
from django_claude_batches.services.delivery.deliver import dispatch_due_deliveries
from django_claude_batches.services.engine import begin_tick, dispatch_due_batches
from django_claude_batches.services.runs.drive import dispatch_due_runs
from django_claude_batches.services.uploads.confirm import dispatch_due_uploads
from django_claude_batches.services.uploads.prepare import prepare_if_due
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import draft, in_state, make_due, running

pytestmark = [pytest.mark.django_db, pytest.mark.database]

SECOND = timedelta(seconds=1)
A_DAY = 2_880
"""Ticks of beat's."""


@pytest.fixture
def sent() -> Iterator[list[dict[str, Any]]]:
    """The headers of each message that is sent."""
    found: list[dict[str, Any]] = []

    def record(headers: dict[str, Any], **_more: Any) -> None:
        found.append(headers)

    with Celery("tests", broker="memory://", set_as_current=True) as app:
        before_task_publish.connect(record)
        yield found
        before_task_publish.disconnect(record)
        app.set_default()


def names(sent: list[dict[str, Any]]) -> list[str]:
    return [headers["task"].removeprefix("django_claude_batches.") for headers in sent]


def statements(do: Callable[[], object]) -> int:
    with CaptureQueriesContext(connection) as queries:
        do()
    return sum("SAVEPOINT" not in query["sql"] for query in queries)  # of the test's own transaction


def pass_time(by: timedelta) -> None:
    """As far as ticks go: since the last one began."""
    AccountState.objects.update(tick_began_at=F("tick_began_at") - by)


def test_no_message_expires(sent: list[dict[str, Any]], settings: Any) -> None:
    settings.CLAUDE_BATCHES = {"KICK": True}
    for make in DUE.values():
        make()
    make_due(in_state(State.IN_PROGRESS))
    for task in (tasks.tick, tasks.watch, tasks.audit, tasks.kick):
        task()
    tasks.drive(0)
    accounts = {"poll", "watch_account", "audit_account"}
    assert {*names(sent)} == {"tick", "advance", "drive", "deliver", "prepare", *accounts}
    assert {headers["expires"] for headers in sent} == {None}
    assert all("options" not in entry for entry in BEAT_SCHEDULE.values())


class TestTicks:
    def test_one_of_beat_is_dropped_if_another_began_within_20_seconds(self, sent: list[dict[str, Any]]) -> None:
        tasks.tick()
        services.submit(draft(1))
        tasks.tick()
        pass_time(19 * SECOND)
        tasks.tick()
        assert sent == []
        pass_time(2 * SECOND)
        tasks.tick()
        assert names(sent) == ["advance"]

    def test_a_kick_always_does_its_work(self, sent: list[dict[str, Any]]) -> None:
        tasks.tick()
        for _ in range(2):
            services.submit(draft(1))
            tasks.tick(**tasks.KICK_KWARGS)
        assert names(sent) == ["advance"] * 2

    @pytest.mark.parametrize("count", [100, pytest.param(A_DAY, marks=pytest.mark.slow)])
    def test_a_pile_of_them_costs_a_statement_each(
        self, count: int, claude: ClaudeEmulator, sent: list[dict[str, Any]]
    ) -> None:
        make_due(running())
        asked = len(claude.requests)
        tasks.tick()
        assert names(sent) == ["poll"]
        assert sum(statements(tasks.tick) for _ in range(count)) == count
        assert (names(sent), len(claude.requests)) == (["poll"], asked)

    def test_of_two_at_once_one_does_the_work(self) -> None:
        """The other one begins after this one has looked whether one has."""

        def meanwhile(execute: Any, sql: str, *arguments: Any) -> Any:
            nonlocal has_looked
            result = execute(sql, *arguments)
            if not has_looked:
                has_looked = True
                AccountState.objects.create(alias="default", tick_began_at=timezone.now() - SECOND)
            return result

        has_looked = False
        with connection.execute_wrapper(meanwhile):
            assert not begin_tick(is_kick=False)

    def test_a_clock_that_was_set_back_stops_none(self) -> None:
        assert begin_tick(is_kick=False)
        pass_time(timedelta(hours=-1))
        assert begin_tick(is_kick=False)

    @pytest.mark.parametrize("task", [tasks.watch, tasks.audit, tasks.purge])
    def test_a_pile_of_another_task_costs_few_statements_each(self, task: Any, sent: list[dict[str, Any]]) -> None:
        task()
        for message in names(sent):
            getattr(tasks, message)("default")
            # whether the account is slow, and whether its turn has come
            assert statements(lambda name=message: getattr(tasks, name)("default")) <= 2
        before = len(sent)
        assert statements(task) <= 4  # the accounts, and whether the one is slow, used, and its turn has come
        assert len(sent) == before


def due_upload() -> BatchUpload:
    return BatchUpload.objects.store([b"{}"], name="requests.jsonl")


def due_run() -> JobRun:
    return JobRun.objects.create(job="tag", next_action_at=timezone.now() - SECOND)


def due_delivery() -> DeliveryChunk:
    at = timezone.now() - SECOND
    return DeliveryChunk.objects.create(batch=in_state(State.INGESTED), position=0, last_position=0, next_action_at=at)


def due_batch() -> MessageBatch:
    return services.submit(draft(1))


DUE: dict[str, Callable[[], Any]] = {
    "batch": due_batch,
    "run": due_run,
    "delivery": due_delivery,
    "upload": due_upload,
}


def handed_out(row: Any) -> int:
    """Send a message for what is due and does not rest, of the row's kind; give how many."""
    sent: list[int] = []
    match row:
        case MessageBatch():
            dispatch_due_batches(sent.append, rest=tasks.DISPATCH_INTERVAL)
        case JobRun():
            dispatch_due_runs(sent.append, rest=tasks.DISPATCH_INTERVAL)
        case DeliveryChunk():
            dispatch_due_deliveries(sent.append, rest=tasks.DISPATCH_INTERVAL)
        case BatchUpload():
            dispatch_due_uploads(sent.append, rest=tasks.DISPATCH_INTERVAL)
    return len(sent)


def let_rest(row: Any, by: timedelta) -> None:
    rows = type(row).objects.filter(pk=row.pk)
    rows.update(dispatched_at=F("dispatched_at") - by, next_action_at=F("next_action_at") - by)


@pytest.mark.parametrize("kind", DUE)
class TestRests:
    """After how long a row whose message nobody took is sent another."""

    def test_each_is_longer_up_to_a_quarter_of_an_hour(self, kind: str) -> None:
        row = DUE[kind]()
        assert handed_out(row) == 1
        for seconds in (20, 40, 80, 160, 320, 640, 900, 900):
            assert handed_out(row) == 0
            let_rest(row, (seconds - 2) * SECOND)
            assert handed_out(row) == 0, seconds
            let_rest(row, 2 * SECOND)
            assert handed_out(row) == 1, seconds

    def test_a_row_that_was_taken_has_none(self, kind: str) -> None:
        row = DUE[kind]()
        for seconds in (20, 40, 80):
            handed_out(row)
            let_rest(row, seconds * SECOND)
        rows = type(row).objects
        token = rows.acquire(row.pk, dispatched_at=None)
        rows.release(row.pk, str(token))
        assert handed_out(row) == 1
        let_rest(row, 20 * SECOND)
        assert handed_out(row) == 1

    def test_a_row_that_became_due_since_its_message_has_the_shortest(self, kind: str) -> None:
        row = DUE[kind]()
        for seconds in (20, 40, 80):
            handed_out(row)
            let_rest(row, seconds * SECOND)
        assert handed_out(row) == 1
        let_rest(row, 21 * SECOND)
        assert handed_out(row) == 0
        type(row).objects.filter(pk=row.pk).update(next_action_at=timezone.now() - SECOND)
        assert handed_out(row) == 1
        let_rest(row, 20 * SECOND)
        assert handed_out(row) == 1


def test_who_takes_a_file_takes_its_message() -> None:
    upload = due_upload()
    assert handed_out(upload) == 1
    prepare_if_due(upload.pk)
    upload.refresh_from_db()
    assert upload.dispatched_at is None
