"""Kill workers during a run: after a number of rows drafted, stored or delivered, and while a batch is sent."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from django.db.models import Sum
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.models import AccountState, BatchResult, DeliveryChunk, JobRun, MessageBatch, State
from tests.reliability.site import LONG_AGO, Site, kill_group

DRAFTING, SENDING, STORING, DELIVERING = "drafting", "sending", "storing", "delivering"

# The shares of all kills. At most as many sendings are interrupted as there are batches.
SHARES = {DRAFTING: 0.2, SENDING: 0.1, STORING: 0.2, DELIVERING: 0.5}

# Seconds after which a kill comes at most: whatever the processes do then.
LATER = 0.2

# Seconds after which the lease of a dead process on a chunk or a run is expired.
PATIENCE = 2.0


@dataclass(frozen=True)
class Standing:
    """The progress: rows drafted, results stored and delivered, and the states of the batches."""

    drafted: int
    stored: int
    delivered: int
    states: tuple[tuple[int, str], ...]

    @classmethod
    def now(cls) -> Standing:
        drafted = JobRun.objects.aggregate(rows=Sum("row_count"))["rows"] or 0
        # Not counted: a quarter of a million rows are not to be read fifty times a second.
        stored = BatchResult.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
        delivered = DeliveryChunk.objects.aggregate(rows=Sum("delivered_count"))["rows"] or 0
        return cls(drafted, stored, delivered, tuple(MessageBatch.objects.order_by("pk").values_list("pk", "state")))

    def reached(self, what: str) -> int:
        """Give the number of rows of a kind of work; of sending, whether one is being sent."""
        sending = any(state == State.SUBMITTING for _pk, state in self.states)
        return {DRAFTING: self.drafted, SENDING: int(sending), STORING: self.stored, DELIVERING: self.delivered}[what]


@dataclass
class Shooting:
    """One worker with two children, and beat; `kills` and `whole` count the kills, and those of all of the worker.

    Either a child is killed, and the worker continues with another one, or all of it is killed and started again.
    """

    site: Site
    random: Random
    rows: int
    shots: int
    seconds: float
    kills: Counter[str] = field(default_factory=Counter)
    whole: int = 0
    stood_still: int = 0
    resumed: int = 0

    def __post_init__(self) -> None:
        self._plan = {what: self._moments(what) for what in SHARES}
        self._leases: dict[tuple[type, str, object], float] = {}
        self._seen, self._moved_at = Standing(0, 0, 0, ()), time.monotonic()

    def _moments(self, what: str) -> list[int]:
        """Give after how many rows to kill, the latest first."""
        count = max(1, round(self.shots * SHARES[what]))
        if what == SENDING:
            return [1] * count
        return sorted((self.random.randrange(1, self.rows) for _ in range(count)), reverse=True)

    def start(self) -> None:
        self.site.beat()
        self._start()

    def _start(self) -> None:
        self._worker = self.site.worker("--without-gossip")

    def look(self) -> None:
        """Kill if it is time; expire the leases of dead processes."""
        standing = Standing.now()
        if standing != self._seen:
            self._seen, self._moved_at = standing, time.monotonic()
        for what, moments in self._plan.items():
            if moments and standing.reached(what) >= moments[-1]:
                self._plan[what] = [moment for moment in moments if moment > standing.reached(what)]
                if what == SENDING:
                    self._plan[what] = moments[1:]
                self._shoot(what)
                break
        if time.monotonic() > self._moved_at + self.seconds:
            self.stood_still += 1
            self._shoot_all()
        self._resume()
        self._let_go()

    def _resume(self) -> None:
        """Do what the run's page asks a person for: five kills in a row at one chunk have paused it."""
        for run in JobRun.objects.filter(paused_at__isnull=False):
            assert "processes in a row failed" in run.pause_reason, run.pause_reason
            services.resume_run(run)
            self.resumed += 1

    def _shoot(self, what: str) -> None:
        time.sleep(self.random.uniform(0, LATER if what != SENDING else LATER / 10))
        self.kills[what] += 1
        children = children_of(self._worker.pid)
        if not children or self.random.random() < 0.4:
            self.whole += 1
            self._shoot_all()
            return
        with suppress(ProcessLookupError):
            os.kill(self.random.choice(children), signal.SIGKILL)

    def _shoot_all(self) -> None:
        """Kill all processes; then age all leases, and the create calls without an answer."""
        kill_group(self._worker)
        self.site.let_time_come()
        self.site.let_the_quiet_period_pass()
        self._start()
        self._moved_at = time.monotonic()

    def _let_go(self) -> None:
        """Let due times come, and leases on chunks and runs run out that were not renewed for a while.

        Whose they are is not known. If a living process is that slow, it is late, and must leave nothing: no harm in
        trying that too. Leases on batches are not touched: what a living process sends would be sent twice.
        """
        past = timezone.now() - LONG_AGO
        MessageBatch.objects.filter(next_action_at__gt=past, lease_token="").update(next_action_at=past)
        AccountState.objects.filter(lease_until__gt=past).update(lease_until=past)
        held: dict[tuple[type, str, object], float] = {}
        for model in (DeliveryChunk, JobRun):
            model._default_manager.filter(next_action_at__gt=past, lease_token="").update(next_action_at=past)
            for token, until in model._default_manager.exclude(lease_token="").values_list(
                "lease_token", "lease_until"
            ):
                since = held[model, token, until] = self._leases.get((model, token, until), time.monotonic())
                if time.monotonic() > since + PATIENCE:
                    model._default_manager.filter(lease_token=token, lease_until=until).update(lease_until=past)
        self._leases = held


def children_of(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []
