"""A gate in front of the emulator: after this number of connections, clients wait in `connect()` until it opens."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

PIECE_BYTES = 65_536


class Gate:
    """Passes bytes unchanged. To close, it fills its listen queue of one, so that the kernel lets clients wait."""

    def __init__(self, upstream: str, *, passing: int) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._passing = passing
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        self._opened = threading.Event()
        self._sockets: list[socket.socket] = [self._listener]
        self._threads: list[threading.Thread] = []
        self.is_closed = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def open(self) -> None:
        self._opened.set()

    @contextmanager
    def serving(self) -> Iterator[Gate]:
        self._start(self._serve)
        try:
            yield self
        finally:
            self.open()
            for each in self._sockets:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            for thread in self._threads:
                thread.join(timeout=10)
            for each in self._sockets:
                each.close()

    def _serve(self) -> None:
        with suppress(OSError):
            for _ in range(self._passing - 1):
                self._let_through(self._listener.accept()[0])
            # Close before the last connection has its answer: the next request must find the gate closed.
            last = self._listener.accept()[0]
            self._fill()
            self.is_closed.set()
            self._let_through(last)
            self._opened.wait()
            while True:
                self._let_through(self._listener.accept()[0])

    def _let_through(self, inside: socket.socket) -> None:
        outside = socket.create_connection(self._upstream)
        self._sockets += [inside, outside]
        self._start(_pump, inside, outside)
        self._start(_pump, outside, inside)

    def _fill(self) -> None:
        """Fill the listen queue until the kernel accepts no more connections."""
        with suppress(TimeoutError):
            while True:
                filler = socket.socket()
                self._sockets.append(filler)
                filler.settimeout(0.2)
                filler.connect(self._listener.getsockname())

    def _start(self, does: object, *arguments: object) -> None:
        thread = threading.Thread(target=does, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(PIECE_BYTES):
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
