"""Time for one world: the database's clock and Python's stand still until the test moves them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

from django.db import connection


class Clock:
    """Stands still, so that what is due does not depend on how fast this machine is."""

    def __init__(self, start: datetime) -> None:
        self.now = start

    def move(self, by: timedelta) -> None:
        """Forward or, as clocks that are set right do, back."""
        self.now += by

    @contextmanager
    def ruling(self, sleep: Callable[[float], object]) -> Iterator[None]:
        """Let `DatabaseNow`, `timezone.now()` and `time.sleep` go by this clock; what sleeps calls `sleep`."""
        with (
            _database_clock(lambda: self.now),
            mock.patch("django.utils.timezone.now", side_effect=lambda: self.now),
            mock.patch("time.sleep", sleep),
        ):
            yield


@contextmanager
def _database_clock(now: Callable[[], datetime]) -> Iterator[None]:
    """Replace SQLite's STRFTIME, which is what `Now()` is there."""

    def controlled(*arguments: Any) -> Any:
        if arguments[1:] == ("NOW",):
            return now().astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        return _built_in(*arguments)

    connection.ensure_connection()
    connection.connection.create_function("strftime", -1, controlled)
    try:
        yield
    finally:
        # A built-in that was replaced does not come back by itself.
        connection.connection.create_function("strftime", -1, _built_in)


def _built_in(*arguments: Any) -> Any:
    with closing(sqlite3.connect(":memory:")) as other:
        places = ", ".join("?" for _ in arguments)
        return other.execute(f"SELECT STRFTIME({places})", arguments).fetchone()[0]
