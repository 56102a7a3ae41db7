"""Celery's processes are killed at each point of a batch's life: the task is lost, and the row becomes due again."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator

import pytest
from celery import Celery
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.models import AccountState, MessageBatch
from django_claude_batches.tasks import KICK_KWARGS
from tests.conftest import GATE
from tests.harness import requirements
from tests.harness.databases import POSTGRES
from tests.harness.factories import draft, let_ten_minutes_pass
from tests.reliability.kills.crash_points import AFTER, SENT, CrashFolder
from tests.reliability.kills.crew import check_receivers
from tests.reliability.kills.journey import CREATE, Point, new_points
from tests.reliability.kills.journeys import JOURNEYS, OLDER
from tests.reliability.site import LONG_AGO, Site, kill_group

pytestmark = [pytest.mark.process, pytest.mark.timeout(600)]

SEND, POLL, FETCH = (JOURNEYS[name] for name in ("send", "poll", "fetch and announce"))
TO_SEND = [point for point in new_points([], SEND) if OLDER not in point.name]
TO_FETCH = [
    point
    for point in [*new_points([SEND], POLL), *new_points([SEND, POLL], FETCH)]
    if "account_state" not in point.name  # in the first tick of a site
]
DELICATE_TO_SEND = [point for point in TO_SEND if point.name.endswith(CREATE) and point.name.startswith((SENT, AFTER))]
DELICATE_TO_FETCH = [point for point in TO_FETCH if point.name.startswith("before ingestion._store")]

# One trial takes each third point, since each takes a second or two; three trials take all.
SHARE = 3


@pytest.fixture
def broker(site: Site, request: pytest.FixtureRequest) -> Iterator[str]:
    """A Redis of the site's own."""
    if shutil.which("redis-server") is None:
        is_required = request.config.stash[GATE].policy == requirements.REQUIRE
        (pytest.fail if is_required else pytest.skip)("needs redis-server, which is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(site.folder)]
    redis = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    yield f"redis://127.0.0.1:{port}/0"
    site.stop()
    redis.kill()
    redis.wait()


class Team:
    """Worker and beat in one process with its children, as small sites have them."""

    def __init__(self, site: Site, broker: str) -> None:
        self.site, self.points = site, CrashFolder(site.folder / "crash")
        self._variables = {"BROKER_URL": broker, "CRASH_FOLDER": str(site.folder / "crash")}
        self._celery = Celery(broker=broker)
        self.start()

    def start(self) -> None:
        schedule = f"--schedule={self.site.folder}/beat"
        self._process = self.site.worker("--beat", schedule, "--without-gossip", **self._variables)

    def kill_at_each(self, to_send: list[Point], to_fetch: list[Point], *, with_group: bool = False) -> None:
        """Kill the process that sends a batch, or fetches another one, when it reaches the point."""
        for point in to_send:
            services.submit(draft(3))
            self._kill_at(point, with_group=with_group)
        for point, remote_id in zip(to_fetch, self._running(len(to_fetch)), strict=True):
            self.site.claude.finish(remote_id)
            self._kill_at(point, with_group=with_group)

    def _kill_at(self, point: Point, *, with_group: bool) -> None:
        self.points.arm(point.name, point.occurrence, with_group=with_group)
        self.look()
        self.site.until(lambda: self.points.has_struck, do=self.let_due_times_come)
        if with_group:
            self.site.until(lambda: self._process.poll() is not None)
            self.start()
        assert self._process.poll() is None

    def look(self) -> None:
        """Make the worker tick at once; beat sends a tick each second."""
        self.let_due_times_come()
        self._celery.send_task("django_claude_batches.tick", queue="reliability", kwargs=KICK_KWARGS)

    def let_due_times_come(self) -> None:
        """Make rows due, and expire the leases of accounts, but not of batches: a living process may hold them."""
        past = timezone.now() - LONG_AGO
        MessageBatch.objects.filter(next_action_at__gt=past, lease_token="").update(next_action_at=past)
        AccountState.objects.filter(lease_until__gt=past).update(lease_until=past)

    def _running(self, count: int) -> Iterator[str]:
        """Send this number of batches, and return their ids at Anthropic."""
        batches = [services.submit(draft(3)) for _ in range(count)]
        rows = MessageBatch.objects.running().filter(pk__in=[batch.pk for batch in batches])
        self.site.until(lambda: rows.count() == count, do=self.let_due_times_come)
        yield from map(str, rows.values_list("anthropic_id", flat=True))

    def complete_all(self) -> None:
        """Stop all processes, let hours pass, and let a new worker complete the work."""
        self.points.disarm()
        kill_group(self._process)
        self.site.let_time_come()
        self.site.let_the_quiet_period_pass()
        self.start()

        def pass_time() -> None:
            self.site.claude.finish()
            let_ten_minutes_pass()
            self.let_due_times_come()

        self.site.until(self.site.is_complete, seconds=120, do=pass_time)
        self.site.check()
        check_receivers(self.site)


@pytest.fixture
def team(site: Site, broker: str) -> Team:
    return Team(site, broker)


@pytest.mark.fault(on=[POSTGRES])
def test_workers_killed_at_each_point(
    site: Site, team: Team, database: str, trial: int, tried: Callable[[str, str], None]
) -> None:
    to_send, to_fetch = TO_SEND[trial % SHARE :: SHARE], TO_FETCH[trial % SHARE :: SHARE]
    team.kill_at_each(to_send, to_fetch)
    points = len(TO_SEND) + len(TO_FETCH)
    for _ in (*to_send, *to_fetch):
        tried("A child of the Celery worker is killed", f"SIGKILL at {points} points from submit to announce")
    team.kill_at_each(DELICATE_TO_SEND, DELICATE_TO_FETCH, with_group=True)
    for _ in range(points := len(DELICATE_TO_SEND) + len(DELICATE_TO_FETCH)):
        tried("Worker, children and beat are killed", f"SIGKILL at {points} of these points; then started again")
    team.complete_all()
