"""How long a call may take in all, and how slowly a stream may come.

A read timeout bounds one wait for bytes, so a byte now and then holds a call for ever: in the status line, in endless
`100 Continue`s, in headers, chunks or trailers. Here each read from the connection first asks the call's `Pace` how
long it may last. A watchdog thread was rejected: it has to duplicate the socket of each call (TLS replaces the first
one), to be started again after a fork, and can shut down a pooled connection under its next call.

Not bounded: the name lookup, and reads through an HTTPS proxy to an HTTPS server (TLS in TLS: urllib3 reads there until
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

ON_WAIT_SECONDS = 1.0
"""Seconds between two calls of `on_wait` while no byte comes."""

MIN_TIMEOUT = 0.001
"""Seconds. A socket timeout of 0 would mean that it does not block."""

MAX_UNSEEN_BYTES = 1024 * 1024
"""Bytes of a stream that may come between two pieces of it: a piece has 256 kB, and the rest is framing."""

MAX_ANSWER_BYTES = 32 * 1024 * 1024
"""Bytes of all the tries of another call. A body has a bound of its own; urllib3 1.26 reads framing of any length."""

_thread = threading.local()


class TooSlow(TimeoutError):
    """The call is over its total time, or its stream is below the least rate."""


class Pace:
    """The seconds that a call may take, retries and pauses included; once it streams, the least rate instead.

    `limit` says in errors whose time it is. `on_wait` is called while an answer is waited for, each second.
    """

    def __init__(self, seconds: float, *, limit: str, on_wait: Callable[[], object] | None = None) -> None:
        self.on_wait = on_wait
        self._until = time.monotonic() + seconds
        self._words = f"No complete answer from the API within {seconds:g} s, {limit}"
        self._is_stream = self._is_too_slow = False
        self._unseen = 0
        self._on_read: Callable[[], object] | None = None

    def stream(self, *, rate: float, window: float, on_read: Callable[[], object] | None = None) -> None:
        """From now on demand `rate` bytes per second over each `window` seconds spent reading, and call `on_read`.

        Only time inside reads counts: what the caller does between them takes none of it.
        """
        self._words = f"The results came at less than {rate:,.0f} bytes per second (min_results_rate, MIN_RESULTS_RATE)"
        self._is_stream, self._on_read = True, on_read
        self._rate, self._window = rate, window
        self._spent, self._size, self._unseen = 0.0, 0, 0

    @property
    def left(self) -> float:
        """The seconds left, not positive once the time is over; infinite for a stream."""
        return float("inf") if self._is_stream else self._until - time.monotonic()

    @property
    def exceeded(self) -> str:
        """What limit the call ran into; empty if into none."""
        return self._words if self._is_too_slow or self.left <= 0 else ""

    def shortened(self, timeout: float) -> float:
        """Return the timeout, or what is left where that is less. Raise TooSlow if nothing is."""
        left = self.left
        if left <= 0:
            raise TooSlow(self._words)
        return max(min(timeout, left), MIN_TIMEOUT)

    def read(self, size: int, seconds: float) -> None:
        """Note a read of `size` bytes that took so long.

        Raise TooSlow for a stream that is below its rate, and OSError for one of which trailers come without end.
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
        """Note that the stream gave out a piece."""
        self._unseen = 0


@contextmanager
def keeping(pace: Pace) -> Iterator[None]:
    """Let what this thread asks in the block keep this pace, also where the answer is read later."""
    before = getattr(_thread, "pace", None)
    _thread.pace = pace
    try:
        yield
    finally:
        _thread.pace = before


def exceeded() -> str:
    """Return what limit the call of this thread ran into; empty if into none."""
    pace: Pace = _thread.pace
    return pace.exceeded


class PacedResponse(http.client.HTTPResponse):
    """An answer of which every read keeps the pace: http.client and urllib3 read through `fp` and nothing else."""

    def __init__(self, sock: Any, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        file: Any = self.fp
        self.fp = io.BufferedReader(_PacedReads(file.detach(), sock, _thread.pace))

    def begin(self) -> None:
        super().begin()
        # urllib3 logs what of the head is no header, which may be the key if a gateway repeats it.
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
        """Read as `readinto`, and call `on_wait` each second.

        By short timeouts, after which a socket can be read again, TLS in TLS too. `select` knows nothing of what TLS
        has read already, and is woken by records that carry no data. The socket's file could not be read again.
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
    """To be mixed into a connection of urllib3: connecting and the answers keep the pace."""

    response_class = PacedResponse
    timeout: float

    def _new_conn(self) -> Any:
        pace = _thread.pace
        self.timeout = pace.shortened(self.timeout)
        sock = super()._new_conn()  # type: ignore[misc]
        sock.settimeout(pace.shortened(self.timeout))  # the TLS handshake as a whole has this timeout
        return sock
