"""Two accounts, one with a slow server: the other one's batches go out in time, and nothing of either is lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from django.test import override_settings

from django_claude_batches import services
from django_claude_batches.models import AccountState, MessageBatch, State
from tests.making import draft
from tests.reliability import settings as of_site
from tests.reliability.databases import POSTGRES, SQLITE
from tests.reliability.site import Site

pytestmark = pytest.mark.process

SLOW, KEY = "a slow", "sk-ant-api03-slow"
READ_TIMEOUT = 2.0
HELD = 3 * READ_TIMEOUT + 2
"""Seconds that a call to the slow server holds its worker: three tries and the pauses between them."""
IN_TIME = HELD + 8
"""Seconds until a batch of the other account has to be at Anthropic: a minute where the limits are the default ones."""
MANY = 4
"""Batches of the slow account in each state."""
HEALTHY = 15
"""Batches of the other account, one after the other."""

Start = Callable[[Site], object]


@pytest.fixture
def two(site: Site) -> Iterator[Site]:
    site.environment["SLOW_ACCOUNT"] = f"{KEY} {READ_TIMEOUT}"
    accounts = {SLOW: {"API_KEY": KEY, "TIMEOUTS": (5, READ_TIMEOUT)}, "default": {}}
    with override_settings(CLAUDE_BATCHES={**of_site.CLAUDE_BATCHES, "KICK": False, "ACCOUNTS": accounts}):
        yield site


def work_in_all_states(site: Site) -> None:
    """Have batches of the slow account due: to be fetched, searched for, polled and sent."""
    for _ in range(MANY):
        services.advance(services.submit(draft(2, account=SLOW)))
    site.claude.finish()
    site.let_due_times_come()
    services.tick(lambda pk: None)
    site.claude.fault("lost_answer", times=MANY)
    for _ in range(2 * MANY):
        services.advance(services.submit(draft(2, account=SLOW)))
    for _ in range(MANY):
        services.submit(draft(2, account=SLOW))
    states = sorted(MessageBatch.objects.values_list("state", flat=True))
    assert states == sorted(MANY * [State.ENDED, State.UNCERTAIN, State.IN_PROGRESS, State.QUEUED])
    site.let_due_times_come()


def healthy_ones_go_out(site: Site) -> None:
    """Submit batches of the other account, each when the one before is at Anthropic."""
    for _ in range(HEALTHY):
        batch = services.submit(draft(1))
        submitted = MessageBatch.objects.filter(pk=batch.pk)
        site.until(lambda row=submitted: row.get().state == State.IN_PROGRESS, seconds=IN_TIME)
        time.sleep(0.5)  # so that there is work for several of the slow calls


def all_goes_on(site: Site) -> None:
    """The server answers again; what a process that is killed now was about is gone on with."""
    site.stop()
    site.claude.clear_faults()
    AccountState.objects.update(slow_at=None)
    site.until(site.is_complete, do=site.go_on)
    site.check()


def by_worker(site: Site) -> None:
    site.team()


def by_loop(site: Site) -> None:
    site.start("-m", "django", "claude_batches", "tick", "--loop")


def is_slow_and_then_not(site: Site, start: Start) -> None:
    work_in_all_states(site)
    site.claude.fault("slow_answer", delay=3 * READ_TIMEOUT, times=None, key=KEY)
    start(site)
    healthy_ones_go_out(site)
    assert AccountState.objects.get(alias=SLOW).slow_since
    all_goes_on(site)


def keeps_creates_waiting(site: Site, start: Start) -> None:
    for _ in range(MANY):
        services.submit(draft(2, account=SLOW))
    site.claude.fault("lost_answer", on="create", hold=600, times=None, key=KEY)
    start(site)
    healthy_ones_go_out(site)
    assert MessageBatch.objects.filter(account=SLOW, state=State.SUBMITTING).count() == 1
    all_goes_on(site)


ONE = "two accounts, and {} for one of them, with 15 batches of the other one to be sent"


@pytest.mark.fault(
    ONE.format("no answer in time"), "two workers and beat; then it answers again", on=[SQLITE, POSTGRES]
)
@pytest.mark.usefixtures("broker")
def test_a_slow_server_and_two_workers(two: Site, trial: int) -> None:
    is_slow_and_then_not(two, by_worker)


@pytest.mark.fault(ONE.format("no answer in time"), "`tick --loop`; then it answers again", on=[SQLITE])
def test_a_slow_server_and_a_loop(two: Site, trial: int) -> None:
    is_slow_and_then_not(two, by_loop)


@pytest.mark.fault(
    ONE.format("no answer to create calls"),
    "two workers and beat, which are killed then; then it answers again",
    on=[SQLITE, POSTGRES],
)
@pytest.mark.usefixtures("broker")
def test_silent_creates_and_two_workers(two: Site, trial: int) -> None:
    keeps_creates_waiting(two, by_worker)


@pytest.mark.fault(
    ONE.format("no answer to create calls"), "`tick --loop`, which is killed then; then it answers again", on=[SQLITE]
)
def test_silent_creates_and_a_loop(two: Site, trial: int) -> None:
    keeps_creates_waiting(two, by_loop)
