"""A fixed time for Python, the database and the emulator, which tests advance."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.backends.signals import connection_created
from django.utils import timezone

from django_claude_batches.testing import ClaudeEmulator
from tests.reliability.protocol.clock import built_in_strftime

# A Monday, some seconds after the full minute, because the emulator's clock advances during a run.
MORNING = datetime(2026, 11, 23, 7, 42, 5, tzinfo=UTC)


class Day:
    """While entered, the time is the same for the pages, the services and the browser."""

    def __init__(self, traveller: Any) -> None:
        self._traveller = traveller
        self.claude: ClaudeEmulator | None = None

    def let_pass(self, **time: float) -> None:
        """Advance all clocks; the arguments are those of `timedelta`."""
        by = timedelta(**time)
        self._traveller.shift(by)
        if self.claude is not None:
            self.claude.pass_time(by.total_seconds())


@contextmanager
def begun() -> Iterator[Day]:
    """Begin the day: rows that are created while this is entered have its times."""
    # An extra: imported when needed.
    import time_machine

    connection_created.connect(_set_clock)
    try:
        with time_machine.travel(MORNING, tick=False) as traveller:
            yield Day(traveller)
    finally:
        connection_created.disconnect(_set_clock)


def _set_clock(connection: Any, **_signal: Any) -> None:
    """Replace SQLite's STRFTIME, by which Django implements `Now()`."""

    def controlled(*arguments: Any) -> Any:
        if arguments[1:] == ("NOW",):
            return timezone.now().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        return built_in_strftime(*arguments)

    connection.connection.create_function("strftime", -1, controlled)
