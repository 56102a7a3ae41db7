"""Two accounts, one with a slow server: the batches of the other one are sent in time, and nothing is lost."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest
from django.test import override_settings
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.models import AccountState, MessageBatch, State
from django_claude_batches.schedule import TICK_SECONDS
from django_claude_batches.services.engine import tick
from django_claude_batches.testing import Bend
from tests.harness.databases import POSTGRES, SQLITE
from tests.harness.factories import draft
from tests.reliability.project import settings as of_site
from tests.reliability.site import Site

pytestmark = [pytest.mark.process, pytest.mark.timeout(600)]

SLOW, KEY = "a slow", "sk-ant-api03-slow"

# Seconds that a call to the slow server holds its worker: the account's TOTAL_TIMEOUT.
HELD = 6.0

# Seconds until a batch of the other account must be sent: a round of the loop, a slow call, and a margin for a busy
# machine.
IN_TIME = TICK_SECONDS + HELD + 7

# Batches of the slow account in each state.
MANY = 4

# Batches of the other account, one after the other.
HEALTHY = 10

Process = subprocess.Popen[bytes]
Start = Callable[[Site], Process]


@pytest.fixture
def two(site: Site) -> Iterator[Site]:
    site.environment["SLOW_ACCOUNT"] = f"{KEY} {HELD}"
    accounts = {SLOW: {"API_KEY": KEY, "TIMEOUTS": (5, HELD / 3), "TOTAL_TIMEOUT": HELD}, "default": {}}
    with override_settings(CLAUDE_BATCHES={**of_site.CLAUDE_BATCHES, "KICK": False, "ACCOUNTS": accounts}):
        yield site


def work_in_all_states(site: Site) -> None:
    """Create due batches of the slow account: to be fetched, searched for, polled and sent."""
    for _ in range(MANY):
        services.advance(services.submit(draft(2, account=SLOW)))
    site.claude.finish()
    site.let_due_times_come()
    tick(lambda pk: None)
    site.claude.fault("lost_answer", times=MANY)
    for _ in range(2 * MANY):
        services.advance(services.submit(draft(2, account=SLOW)))
    for _ in range(MANY):
        services.submit(draft(2, account=SLOW))
    states = sorted(MessageBatch.objects.values_list("state", flat=True))
    assert states == sorted(MANY * [State.ENDED, State.UNCERTAIN, State.IN_PROGRESS, State.QUEUED])
    site.let_due_times_come()


def started(site: Site, start: Start) -> Process:
    began, process = timezone.now(), start(site)
    site.until(lambda: AccountState.objects.filter(last_tick_at__gt=began).exists())
    return process


def healthy_ones_go_out(site: Site) -> None:
    """Submit batches of the other account, each when the one before is at Anthropic."""
    for _ in range(HEALTHY):
        batch = services.submit(draft(1))
        submitted = MessageBatch.objects.filter(pk=batch.pk)
        site.until(lambda row=submitted: row.get().state == State.IN_PROGRESS, seconds=IN_TIME)
        time.sleep(0.5)  # so that there is work for several of the slow calls


def all_goes_on(site: Site) -> None:
    """Let the server answer again, and complete the work of killed processes."""
    site.stop()
    site.claude.clear_faults()
    AccountState.objects.update(slow_at=None, create_until=None)
    site.until(site.is_complete, do=site.retry_now)
    site.check()


def is_slow(site: Site, start: Start) -> Process:
    """Send one account's answers byte by byte; yield the process that works meanwhile."""
    work_in_all_states(site)
    site.claude.bend(Bend(body="dripped", seconds=0.3, key=KEY))
    process = started(site, start)
    healthy_ones_go_out(site)
    assert AccountState.objects.get(alias=SLOW).slow_since
    return process


def keeps_creates_waiting(site: Site, start: Start) -> Process:
    for _ in range(MANY):
        services.submit(draft(2, account=SLOW))
    site.claude.fault("lost_answer", on="create", hold=600, times=None, key=KEY)
    process = started(site, start)
    healthy_ones_go_out(site)
    assert MessageBatch.objects.filter(account=SLOW, state=State.SUBMITTING).count() == 1
    return process


def loop(site: Site) -> Process:
    return site.start("-m", "django", "claude_batches", "tick", "--loop")


ONE = "Two accounts, and {} for one of them, with ten batches of the other one to be sent"


@pytest.mark.fault(ONE.format("dripping answers"), "two workers and beat; then it answers again", on=[SQLITE, POSTGRES])
@pytest.mark.usefixtures("broker")
def test_a_slow_server_and_two_workers(two: Site, trial: int) -> None:
    is_slow(two, Site.team)
    all_goes_on(two)


@pytest.mark.fault(ONE.format("dripping answers"), "`tick --loop`, which gets TERM; then it answers again", on=[SQLITE])
def test_a_slow_server_and_a_loop(two: Site, trial: int) -> None:
    process = is_slow(two, loop)
    process.terminate()
    assert process.wait(timeout=30) == 0, two.said()
    [advanced, failed] = re.findall(r"Advanced (\d+) batches; (\d+) failed", two.said())[0]
    assert (int(advanced) > HEALTHY, failed) == (True, "0")
    all_goes_on(two)


@pytest.mark.fault(
    ONE.format("no answer to create calls"),
    "two workers and beat, which are killed then; then it answers again",
    on=[SQLITE, POSTGRES],
)
@pytest.mark.usefixtures("broker")
def test_silent_creates_and_two_workers(two: Site, trial: int) -> None:
    keeps_creates_waiting(two, Site.team)
    all_goes_on(two)


@pytest.mark.fault(
    ONE.format("no answer to create calls"), "`tick --loop`, which gets TERM twice; then it answers again", on=[SQLITE]
)
def test_silent_creates_and_a_loop(two: Site, trial: int) -> None:
    process = keeps_creates_waiting(two, loop)
    two.until(lambda: process.poll() is not None, do=process.terminate, pause=0.5, seconds=20)
    assert process.returncode == -signal.SIGTERM, two.said()
    all_goes_on(two)
