"""The number of calls to a server that refuses everything for an hour, counted in its log.

The clock is the test's. There are 120 ticks, 30 s apart, as beat makes them, and each does what is due.
The maximum number of calls follows from the back-off (`services.backoff`) and the client's two retries of a read:

- All that runs at an account is asked for with one listing. Where that fails, again after 60 s, a fifth more or less;
  ticks being 30 s apart, once a minute: 61 times.
- A batch that waits to be sent, canceled, fetched or deleted: again after 30 s, then 1, 2, 4 … minutes, a fifth more or
  less. With ticks 30 s apart, after 0, 0.5, 1.5, 3.5, 7, 13.5, 26.5 and 52.5 minutes at the earliest: 8 times.
- An unconfirmed batch is searched for after a tenth of its age, at least 30 s, a fifth more or less: 12 times in the
  first 375 s, half as often in the next 375, a third as often then: 40 times.
- What was abandoned is watched for every 10 minutes, with one listing for an account: 7 times.

Each time is one call of up to 3 requests. If the server says how long to wait, no call is made sooner.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from django_claude_batches.models import MessageBatch, State
from django_claude_batches.services.engine import advance_if_due, tick
from django_claude_batches.services.reconciliation.late_arrivals import watch_due
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import in_state
from tests.reliability.protocol.clock import Clock

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)
TICK = timedelta(seconds=30)
RUNNING, EACH, UNCERTAIN = 50, 2, 2
RETRIED = 3
ASKS_FOR = 600.0

LISTINGS = 61 + 7
BUDGET = RETRIED * (LISTINGS + 4 * EACH * 8 + UNCERTAIN * 40)

# With a `retry-after` of 10 minutes: once at the beginning and six times in the hour, without retries.
PATIENT = 2 * 7 + 4 * EACH * 7 + UNCERTAIN * 7

STORMS: dict[str, tuple[str, dict[str, Any], int]] = {
    "429": ("rate_limited", {"retry_after": None}, BUDGET),
    "429, retry-after: 600": ("rate_limited", {"retry_after": ASKS_FOR}, PATIENT),
    "500": ("server_error", {}, BUDGET),
}


@pytest.fixture
def clock(claude: ClaudeEmulator) -> Iterator[Clock]:
    clock = Clock(claude.now())
    with clock.ruling(lambda seconds: clock.pass_time(timedelta(seconds=seconds))):
        yield clock


def everything_there_is(clock: Clock) -> None:
    for _ in range(RUNNING):
        in_state(State.IN_PROGRESS)
    for _ in range(EACH):
        in_state(State.QUEUED)
        in_state(State.ENDED)
        in_state(State.IN_PROGRESS, cancel_requested_at=clock.now)
        in_state(State.INGESTED, delete_requested_at=clock.now, next_action_at=clock.now)
    for _ in range(UNCERTAIN):
        in_state(State.UNCERTAIN)
    abandoned = in_state(State.ABANDONED)
    abandoned.attempts.update(watch_until=clock.now + timedelta(hours=25))


@pytest.mark.parametrize(
    "storm",
    [
        pytest.param(name, marks=pytest.mark.slow if name in {"500", "429", "429, retry-after: 600"} else ())
        for name in STORMS
    ],
)
def test_an_hour_of_refusals(claude: ClaudeEmulator, clock: Clock, storm: str) -> None:
    everything_there_is(clock)
    name, options, budget = STORMS[storm]
    claude.fault(name, times=None, **options)
    over = clock.now + HOUR
    next_tick = clock.now
    while next_tick < over:
        clock.now = max(clock.now, next_tick)
        tick(advance_if_due)
        watch_due()
        next_tick += TICK
    asked = len(claude.requests)
    assert asked <= budget
    assert {request.status for request in claude.requests} <= {429, 500}
    claude.clear_faults()
    still_due = MessageBatch.objects.filter(next_action_at__isnull=False).values("state").distinct()
    assert {row["state"] for row in still_due} >= {State.QUEUED, State.ENDED, State.IN_PROGRESS, State.UNCERTAIN}
