"""The emulator's clock: real time, plus what a test adds to it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta


class Clock:
    """Runs with real time from its creation, never backwards, and forward by `advance`."""

    def __init__(self) -> None:
        self._origin = datetime.now(UTC)
        self._started = time.monotonic()
        self.added = timedelta()

    def now(self) -> datetime:
        return self._origin + timedelta(seconds=time.monotonic() - self._started) + self.added

    def advance(self, seconds: float) -> None:
        if seconds < 0:
            raise ValueError(f"time cannot pass backwards: {seconds} seconds")
        self.added += timedelta(seconds=seconds)
