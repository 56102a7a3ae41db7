"""Total time limit of a call, and minimum rate of a stream.

A read timeout limits one wait for bytes, so an occasional byte holds a call for ever: in the status line, in endless
`100 Continue`s, in headers, chunks or trailers. Here each read from the connection first asks the call's `Pace` for its
timeout. A watchdog thread was rejected: it would have to duplicate the socket of each call (TLS replaces the first
one), to be restarted after a fork, and could shut down a pooled connection under its next call.

Not limited: the name lookup, and reads through an HTTPS proxy to an HTTPS server (TLS in TLS: urllib3 reads there until
a TLS record is complete). Each address of a host has its own connect timeout.
"""

from __future__ import annotations

import http.client
import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# Seconds between two calls of `on_wait` while no bytes arrive.
ON_WAIT_SECONDS = 1.0

# Seconds. A socket timeout of 0 would make the socket non-blocking.
MIN_TIMEOUT = 0.001

# Bytes of a stream that may arrive between two pieces of it: a piece has 256 kB, and the rest is framing.
MAX_UNSEEN_BYTES = 1024 * 1024

# Bytes of all attempts of any other call. A body has its own limit; urllib3 1.26 reads framing of any length.
MAX_ANSWER_BYTES = 32 * 1024 * 1024

_thread = threading.local()


class TooSlow(TimeoutError):
    """The call is over its total time, or its stream is below the minimum rate."""


class Pace:
    """The time limit of a call in seconds, retries and pauses included; for a stream, the minimum rate instead.

    `limit` names the limit in errors. `on_wait` is called each second during the wait for an answer.
    """

    def __init__(self, seconds: float, *, limit: str, on_wait: Callable[[], object] | None = None) -> None:
        self.on_wait = on_wait
        self._until = time.monotonic() + seconds
        self._words = f"No complete answer from the API within {seconds:g} s, {limit}"
        self._is_stream = self._is_too_slow = False
        self._unseen = 0
        self._on_read: Callable[[], object] | None = None

    def stream(self, *, rate: float, window: float, on_read: Callable[[], object] | None = None) -> None:
        """From now on require `rate` bytes per second over each `window` seconds spent reading, and call `on_read`.

        Only time inside reads counts, not the caller's time between them.
        """
        self._words = f"The results came at less than {rate:,.0f} bytes per second (min_results_rate, MIN_RESULTS_RATE)"
        self._is_stream, self._on_read = True, on_read
        self._rate, self._window = rate, window
        self._spent, self._size, self._unseen = 0.0, 0, 0

    @property
    def left(self) -> float:
        """Return the seconds left, not positive after the limit; infinite for a stream."""
        return float("inf") if self._is_stream else self._until - time.monotonic()

    @property
    def exceeded(self) -> str:
        """Return which limit the call exceeded; empty if none."""
        return self._words if self._is_too_slow or self.left <= 0 else ""

    def shortened(self, timeout: float) -> float:
        """Return the timeout, or the time left if that is less. Raise TooSlow if none is left."""
        left = self.left
        if left <= 0:
            raise TooSlow(self._words)
        return max(min(timeout, left), MIN_TIMEOUT)

    def read(self, size: int, seconds: float) -> None:
        """Record a read of `size` bytes that took `seconds`.

        Raise TooSlow for a stream below its rate, and OSError for one with endless trailers.
        """
        self._unseen += size
        most = MAX_UNSEEN_BYTES if self._is_stream else MAX_ANSWER_BYTES
        if self._unseen > most:
            raise OSError(f"more than {most:,} bytes came that are no part of the answer")
        if not self._is_stream:
            return
        self._spent += seconds
        self._size += size
        if size and self._spent >= self._window:
            self._is_too_slow = self._size < self._rate * self._spent
            if self._is_too_slow:
                raise TooSlow(self._words)
            self._spent, self._size = 0.0, 0
        if self._on_read is not None:
            self._on_read()

    def piece_came(self) -> None:
        """Record that the stream yielded a piece."""
        self._unseen = 0


@contextmanager
def keeping(pace: Pace) -> Iterator[None]:
    """Apply this pace to calls of this thread in the block, also if the answer is read later."""
    before = getattr(_thread, "pace", None)
    _thread.pace = pace
    try:
        yield
    finally:
        _thread.pace = before


def exceeded() -> str:
    """Return which limit the call of this thread exceeded; empty if none."""
    pace: Pace = _thread.pace
    return pace.exceeded


class PacedResponse(http.client.HTTPResponse):
    """A response whose every read keeps the pace: http.client and urllib3 read only through `fp`."""

    def __init__(self, sock: Any, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        file: Any = self.fp
        self.fp = io.BufferedReader(_PacedReads(file.detach(), sock, _thread.pace))

    def begin(self) -> None:
        super().begin()
        # urllib3 logs malformed header lines, which may contain the key if a gateway repeats it.
        self.msg.set_payload("")
        self.msg.defects.clear()


class _PacedReads(io.RawIOBase):
    def __init__(self, raw: Any, sock: Any, pace: Pace) -> None:
        self._raw, self._sock, self._pace = raw, sock, pace

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return int(self._raw.fileno())

    def readinto(self, buffer: Any) -> int | None:
        begun, timeout = time.monotonic(), self._sock.gettimeout()
        shortened = self._pace.shortened(timeout)
        if self._pace.on_wait is not None:
            size = self._received(buffer, begun + shortened, self._pace.on_wait)
        else:
            if shortened < timeout:
                self._sock.settimeout(shortened)
            size = self._raw.readinto(buffer)
        self._pace.read(size or 0, time.monotonic() - begun)
        if self._sock.gettimeout() != timeout:
            self._sock.settimeout(timeout)
        return size

    def _received(self, buffer: Any, until: float, on_wait: Callable[[], object]) -> int | None:
        """Read as `readinto` does, and call `on_wait` each second.

        By short timeouts, after which a socket can be read again, also with TLS in TLS. `select` does not see what TLS
        has already read, and is woken by records without data. The socket's file could not be read again.
        """
        while True:
            self._sock.settimeout(max(min(until - time.monotonic(), ON_WAIT_SECONDS), MIN_TIMEOUT))
            try:
                size: int | None = self._sock.recv_into(buffer)
            except TimeoutError:
                on_wait()
                if time.monotonic() >= until:
                    raise
            else:
                return size

    def close(self) -> None:
        self._raw.close()
        super().close()


class PacedConnection:
    """Mixin for a connection of urllib3: connecting and reading keep the pace."""

    response_class = PacedResponse
    timeout: float

    def _new_conn(self) -> Any:
        pace = _thread.pace
        self.timeout = pace.shortened(self.timeout)
        sock = super()._new_conn()  # type: ignore[misc]
        sock.settimeout(pace.shortened(self.timeout))  # the TLS handshake as a whole has this timeout
        return sock
