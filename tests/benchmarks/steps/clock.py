"""Measure a step, and print its figures."""

from __future__ import annotations

import json
import time
from typing import Any

from tests.harness.memory import peak_mb


class Clock:
    """Starts when it is created: after the imports, `django.setup()` and the connection to the database."""

    def __init__(self) -> None:
        self._base_mb = peak_mb()
        self._began_at = time.time()
        self._began, self._cpu_began = time.perf_counter(), time.process_time()
        self._seconds = self._cpu_seconds = self._ended_at = 0.0

    def stop(self) -> None:
        self._seconds = time.perf_counter() - self._began
        self._cpu_seconds = time.process_time() - self._cpu_began
        self._ended_at = time.time()

    def report(self, rows: int, *, seconds: float | None = None, **facts: Any) -> None:
        """Print the rows, the seconds, the CPU seconds, and the peak memory before and until now."""
        took = self._seconds if seconds is None else seconds
        memory = {"peak_mb": peak_mb(), "base_mb": self._base_mb}
        times = {"cpu_seconds": self._cpu_seconds, "began_at": self._began_at, "ended_at": self._ended_at}
        print(json.dumps({"rows": rows, "seconds": took, **memory, "facts": {**times, **facts}}))
