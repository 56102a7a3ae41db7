from __future__ import annotations

import time
from collections.abc import Iterator
from unittest import mock

import pytest

from django_claude_batches.client import BatchesClient
from django_claude_batches.exceptions import (
    APIConnectionError,
    AuthenticationError,
    NotFoundError,
    RateLimitError,
    WaitTimeout,
)
from tests.client.scripted_server import BATCH_ID, Answer, Hangup, Script, batch, refused

RUNNING = Answer(data=batch())
ENDED = Answer(data=batch(processing_status="ended"))
MISSING = refused(404, "not_found_error", f"Message Batch {BATCH_ID} not found.")


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Iterator[Clock]:
    clock = Clock()
    with mock.patch("django_claude_batches.client.polling.time", clock):
        yield clock


def test_polls_at_the_interval_until_ended(client: BatchesClient, server: Script, clock: Clock) -> None:
    seen: list[str] = []
    server.answers(RUNNING, Answer(data=batch(processing_status="canceling")), ENDED)
    found = client.wait_for(BATCH_ID, on_poll=lambda batch: seen.append(batch["processing_status"]))
    assert found["processing_status"] == "ended"
    assert seen == ["in_progress", "canceling", "ended"]
    assert clock.pauses == [30, 30]


def test_an_ended_batch_is_given_at_once(client: BatchesClient, server: Script, clock: Clock) -> None:
    server.answers(ENDED)
    client.wait_for(BATCH_ID, timeout=0)
    assert clock.pauses == []


def test_a_status_of_tomorrow_is_not_an_end(client: BatchesClient, server: Script, clock: Clock) -> None:
    server.answers(Answer(data=batch(processing_status="paused")), ENDED)
    assert client.wait_for(BATCH_ID)["processing_status"] == "ended"
    assert len(server.received) == 2


@pytest.mark.parametrize(
    ("interval", "hint", "pause"), [(1, "10", 10), (30, "10", 30), (1, None, 1), (1, "86400", 600), (1, "x", 1)]
)
def test_the_servers_hint_on_a_good_poll_is_kept(
    client: BatchesClient, server: Script, clock: Clock, interval: float, hint: str | None, pause: float
) -> None:
    server.answers(Answer(data=batch(), headers={"retry-after": hint} if hint else {}), ENDED)
    client.wait_for(BATCH_ID, poll_interval=interval)
    assert clock.pauses == [pause]


def test_never_sleeps_past_the_timeout_and_polls_once_more(client: BatchesClient, server: Script, clock: Clock) -> None:
    server.answers(RUNNING)
    with pytest.raises(WaitTimeout, match=f"{BATCH_ID} is in_progress after 70 s") as caught:
        client.wait_for(BATCH_ID, timeout=70)
    assert caught.value.last_status == "in_progress"
    assert clock.pauses == [30, 30, 10]
    assert len(server.received) == 4


def test_timeout_of_nothing_polls_once(client: BatchesClient, server: Script, clock: Clock) -> None:
    server.answers(RUNNING)
    with pytest.raises(TimeoutError):
        client.wait_for(BATCH_ID, timeout=0)
    assert (clock.pauses, len(server.received)) == ([], 1)


def test_a_batch_ending_within_the_last_pause_is_seen(client: BatchesClient, server: Script, clock: Clock) -> None:
    server.answers(RUNNING, ENDED)
    assert client.wait_for(BATCH_ID, timeout=5)["processing_status"] == "ended"
    assert clock.pauses == [5]


def test_passing_failures_are_borne(client: BatchesClient, server: Script, clock: Clock) -> None:
    server.answers(MISSING, MISSING, RUNNING, MISSING, RUNNING, MISSING, MISSING, ENDED)
    assert client.wait_for(BATCH_ID)["processing_status"] == "ended"


def test_three_in_a_row_are_not(client: BatchesClient, server: Script, clock: Clock) -> None:
    server.answers(RUNNING, MISSING)
    with pytest.raises(NotFoundError):
        client.wait_for(BATCH_ID)
    assert len(server.received) == 4


def test_lost_connections_are_borne(client: BatchesClient, server: Script, clock: Clock, quick: list[float]) -> None:
    server.answers(*[Hangup()] * 6, ENDED)
    assert client.wait_for(BATCH_ID)["processing_status"] == "ended"
    server.answers(Hangup())
    with pytest.raises(APIConnectionError):
        client.wait_for(BATCH_ID)


def test_a_wait_that_saw_nothing_says_so(client: BatchesClient, server: Script, clock: Clock) -> None:
    server.answers(MISSING)
    with pytest.raises(WaitTimeout, match="is not seen after 10 s") as caught:
        client.wait_for(BATCH_ID, timeout=10)
    assert caught.value.last_status is None


def test_what_waiting_does_not_mend_is_raised_at_once(client: BatchesClient, server: Script, clock: Clock) -> None:
    server.answers(RUNNING, refused(401, "authentication_error", "API key is invalid."))
    with pytest.raises(AuthenticationError):
        client.wait_for(BATCH_ID)


def test_an_errors_wish_is_kept_within_bounds(client: BatchesClient, server: Script, clock: Clock) -> None:
    server.answers(refused(429, "rate_limit_error", "no", retry_after="300"), ENDED)
    client.wait_for(BATCH_ID)
    assert clock.pauses == [300]
    server.answers(refused(429, "rate_limit_error", "no", retry_after="3600"))
    with pytest.raises(RateLimitError):
        client.wait_for(BATCH_ID)


@pytest.mark.slow
def test_the_clock_is_real_otherwise(client: BatchesClient, server: Script) -> None:
    server.answers(RUNNING)
    start = time.monotonic()
    with pytest.raises(WaitTimeout):
        client.wait_for(BATCH_ID, timeout=1.5, poll_interval=0.05)
    assert 1.5 <= time.monotonic() - start < 10
    assert len(server.received) >= 4
