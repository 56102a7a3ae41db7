"""Brokers that fail, two beats, redelivered messages, a project's time limits, and shutdowns."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from django_claude_batches import services
from django_claude_batches.models import State
from tests.harness.databases import POSTGRES, SQLITE
from tests.harness.factories import draft
from tests.reliability.mid_ingest import (
    about_to_be_fetched,
    assert_in_mid_ingest,
    complete_and_check,
    until_in_mid_ingest,
)
from tests.reliability.servers import Redis
from tests.reliability.site import Site
from tests.reliability.web import Visitor

pytestmark = pytest.mark.process

# Seconds that a server is away, long enough that worker and beat notice it and reconnect.
NOTICED = 2.0


def hands_on(site: Site, broker: Redis) -> None:
    """Check that messages still reach the worker: a batch that is submitted afterwards becomes complete too."""
    services.submit(draft(3))
    site.until(site.is_complete, do=lambda: (site.let_due_times_come(), site.claude.finish()))
    site.check()


@pytest.mark.fault(
    "Redis is killed in mid-ingest",
    "SIGKILL, gone for 2 s and started again empty; a second batch is submitted then",
    on=[SQLITE],
)
def test_redis_killed(site: Site, broker: Redis, trial: int) -> None:
    batch = about_to_be_fetched(site)
    site.team()
    until_in_mid_ingest(site, batch)
    broker.end(signal.SIGKILL)
    time.sleep(NOTICED)
    broker.start()
    hands_on(site, broker)


@pytest.mark.fault(
    "Redis is stopped in mid-ingest",
    "SIGTERM, gone for 2 s and started again empty; a second batch is submitted then",
    on=[SQLITE],
)
def test_redis_stopped(site: Site, broker: Redis, trial: int) -> None:
    batch = about_to_be_fetched(site)
    site.team()
    until_in_mid_ingest(site, batch)
    broker.end(signal.SIGTERM)
    time.sleep(NOTICED)
    broker.start()
    hands_on(site, broker)


@pytest.mark.fault(
    "Redis is flushed in mid-ingest",
    "FLUSHALL, while worker and beat continue; a second batch is submitted then",
    on=[SQLITE],
)
def test_redis_flushed(site: Site, broker: Redis, trial: int) -> None:
    batch = about_to_be_fetched(site)
    site.team()
    until_in_mid_ingest(site, batch)
    broker.say("FLUSHALL")
    assert_in_mid_ingest(site, batch)
    hands_on(site, broker)


@pytest.mark.fault(
    "The broker is down during an action in the admin",
    "Redis is killed, a draft is submitted in a browser (answered within 5 s), Redis and a worker are started",
    on=[SQLITE],
)
def test_an_action_without_a_broker(site: Site, broker: Redis, trial: int) -> None:
    batch = draft(3)
    visitor = Visitor(site)
    visitor.arrive()
    broker.end(signal.SIGKILL)
    visitor.does("submit", batch.pk)
    batch.refresh_from_db()
    assert batch.state == State.QUEUED
    assert visitor.slowest < 5
    assert "Connection refused" in site.said(), "the trial is void: nobody missed the broker"
    broker.start()
    site.team()
    site.until(site.is_complete, do=lambda: (site.let_due_times_come(), site.claude.finish()))
    site.check()


@pytest.mark.fault("Two beats", "two beat processes and two workers, for five batches, one of them slow", on=[POSTGRES])
def test_two_beats(site: Site, broker: Redis, trial: int) -> None:
    about_to_be_fetched(site)
    for _ in range(4):
        services.submit(draft(3))
    for _ in range(2):
        site.beat()
        site.worker()
    site.until(site.is_complete, do=lambda: (site.let_due_times_come(), site.claude.finish()))
    site.check()
    assert downloads(site) == 5


@pytest.mark.fault(
    "A task is redelivered while it runs",
    "`visibility_timeout` of 3 s and `acks_late` for the whole project, a fetch of 7 s; "
    "a task of the project's own, as long, is run twice",
    on=[SQLITE],
)
def test_redelivered(site: Site, broker: Redis, tmp_path: Path, trial: int) -> None:
    about_to_be_fetched(site, pause=0.2)
    site.environment |= {"VISIBILITY_TIMEOUT": "3", "ACKS_LATE": "yes"}
    site.team("--concurrency=4")
    note = lingering(site, tmp_path, seconds=7)
    complete_and_check(site)
    site.until(lambda: words(note).count("begun") > 1)
    assert downloads(site) == 1


@pytest.mark.fault(
    "A time limit of 5 s for all of the project's tasks",
    "`task_time_limit`, a fetch of 7 s; a task of the project's own, as long, is killed",
    on=[SQLITE],
)
def test_limited(site: Site, broker: Redis, tmp_path: Path, trial: int) -> None:
    about_to_be_fetched(site, pause=0.2)
    site.environment |= {"TASK_TIME_LIMIT": "5"}
    site.team()
    note = lingering(site, tmp_path, seconds=7)
    complete_and_check(site)
    assert downloads(site) == 1
    site.until(lambda: "TimeLimitExceeded" in site.said())
    assert words(note) == ["begun"]


@pytest.mark.fault(
    "A warm shutdown in mid-ingest", "SIGTERM: the worker finishes the fetch and leaves, within a minute", on=[SQLITE]
)
def test_warm_shutdown(site: Site, broker: Redis, trial: int) -> None:
    batch = about_to_be_fetched(site)
    worker = site.team()
    until_in_mid_ingest(site, batch)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=60) == 0
    assert downloads(site) == 1
    site.check()


@pytest.mark.fault(
    "A cold shutdown in mid-ingest",
    "SIGQUIT, at once or after a SIGTERM; another worker starts, and the lease of 5 minutes is aged",
    on=[SQLITE],
)
@pytest.mark.parametrize("signals", [[signal.SIGQUIT], [signal.SIGTERM, signal.SIGQUIT]], ids=["quit", "term-quit"])
def test_cold_shutdown(site: Site, broker: Redis, signals: list[signal.Signals], trial: int) -> None:
    batch = about_to_be_fetched(site, pause=0.2)
    worker = site.team()
    until_in_mid_ingest(site, batch)
    for number in signals:
        worker.send_signal(number)
        time.sleep(0.5)
    gone(worker)
    assert_in_mid_ingest(site, batch)
    site.let_time_come()
    site.team()
    complete_and_check(site)
    assert downloads(site) == 2


def gone(worker: subprocess.Popen[bytes]) -> None:
    """Wait for a worker to end, and for its children."""
    worker.wait(timeout=30)
    give_up_at = time.monotonic() + 30
    while True:
        try:
            os.killpg(worker.pid, 0)
        except ProcessLookupError:
            return
        assert time.monotonic() < give_up_at, "its children are still there"
        time.sleep(0.05)


def lingering(site: Site, folder: Path, *, seconds: float) -> Path:
    """Let the worker run a task of the project, and return the file to which it writes."""
    note = folder / "lingered"
    sending = f"app.send_task('tests.reliability.project.tasks.linger', {(str(note), seconds)})"
    code = f"from tests.reliability.project.celery import app; {sending}"
    assert site.start("-c", code).wait(timeout=60) == 0, site.said()
    return note


def words(note: Path) -> list[str]:
    return note.read_text().split() if note.exists() else []


def downloads(site: Site) -> int:
    return len(site.claude.ledger()["downloads"])
