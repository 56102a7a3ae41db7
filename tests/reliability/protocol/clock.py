"""The clock of one world: the database's and Python's time are fixed until the test moves them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

from django.db import connection


class Clock:
    """Fixed, so that due times do not depend on the speed of the machine."""

    def __init__(self, start: datetime) -> None:
        self.now = start
        self.passed = timedelta()
        self.of_sender = SendersClock(self)

    def pass_time(self, by: timedelta) -> None:
        self.now += by
        self.passed += by

    def set(self, by: timedelta) -> None:
        """Set the clock forward or back, as when a clock is corrected: no time has passed."""
        self.now += by

    @contextmanager
    def ruling(self, sleep: Callable[[float], object]) -> Iterator[None]:
        """Let `DatabaseNow`, `timezone.now()` and `time.sleep` go by this clock; what sleeps calls `sleep`."""
        with (
            database_clock(lambda: self.now),
            mock.patch("django.utils.timezone.now", side_effect=lambda: self.now),
            mock.patch("time.sleep", sleep),
            mock.patch("django_claude_batches.client.request_body.time", self.of_sender),
        ):
            yield


class SendersClock:
    """The module `time` as the reader of a create call's body sees it, by this clock.

    A process is asked the time once before `sent_at` is set, and again just before it gives out the body: that is
    where `asleep`, once, comes between.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.asleep: Callable[[], object] | None = None
        self._asked = 0

    def sleep_once(self, asleep: Callable[[], object] | None) -> None:
        self.asleep, self._asked = asleep, 0

    def time(self) -> float:
        self._asked += 1
        if self.asleep is not None and self._asked == BEFORE_THE_BODY:
            asleep, self.asleep = self.asleep, None
            asleep()
        return self._clock.now.timestamp()

    def monotonic(self) -> float:
        return self._clock.passed.total_seconds()


# The body of a small batch is read at once.
BEFORE_THE_BODY = 2


@contextmanager
def database_clock(now: Callable[[], datetime]) -> Iterator[None]:
    """Replace SQLite's STRFTIME, which is what `Now()` is there."""

    def controlled(*arguments: Any) -> Any:
        if arguments[1:] == ("NOW",):
            return now().astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        return built_in_strftime(*arguments)

    connection.ensure_connection()
    connection.connection.create_function("strftime", -1, controlled)
    try:
        yield
    finally:
        # A built-in that was replaced does not come back by itself.
        connection.connection.create_function("strftime", -1, built_in_strftime)


def built_in_strftime(*arguments: Any) -> Any:
    with closing(sqlite3.connect(":memory:")) as other:
        places = ", ".join("?" for _ in arguments)
        return other.execute(f"SELECT STRFTIME({places})", arguments).fetchone()[0]
