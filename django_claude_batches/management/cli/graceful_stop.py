"""Stop on Ctrl-C and TERM after the current batch, so that no create call is cut off."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """While entered, record the first Ctrl-C or TERM as a request to stop; a second one has its usual effect."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._replaced: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        # Python lets only the main thread handle signals; in other threads the caller has to stop the command.
        if threading.current_thread() is threading.main_thread():
            self._replaced = {number: signal.signal(number, self._wish) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._restore()

    @property
    def wished(self) -> bool:
        return self._event.is_set()

    def pause(self, seconds: float) -> bool:
        """Sleep for so long, or until a stop is requested; return whether one is."""
        return self._event.wait(seconds)

    def _wish(self, _number: int, _frame: FrameType | None) -> None:
        self._event.set()
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._replaced.items():
            signal.signal(number, handler)
        self._replaced = {}
