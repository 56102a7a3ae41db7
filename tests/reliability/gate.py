"""A gate before the emulator: so many connections pass, and who comes then waits in `connect()` until it opens."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

PIECE_BYTES = 65_536


class Gate:
    """Bytes go through as they are. The waiting is the kernel's: a queue of one, which `closing` fills."""

    def __init__(self, upstream: str, *, passing: int) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._passing = passing
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        self._opened = threading.Event()
        self._fillers: list[socket.socket] = []
        self.is_closed = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def open(self) -> None:
        self._opened.set()

    @contextmanager
    def serving(self) -> Iterator[Gate]:
        threading.Thread(target=self._serve, daemon=True).start()
        try:
            yield self
        finally:
            self.open()
            self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            for _ in range(self._passing):
                self._let_through()
            self._fill()
            self.is_closed.set()
            self._opened.wait()
            while True:
                self._let_through()

    def _let_through(self) -> None:
        inside, _ = self._listener.accept()
        outside = socket.create_connection(self._upstream)
        for source, target in ((inside, outside), (outside, inside)):
            threading.Thread(target=_pump, args=(source, target), daemon=True).start()

    def _fill(self) -> None:
        """Take the places in the queue, until the kernel lets nobody in any more."""
        while True:
            filler = socket.socket()
            filler.settimeout(0.2)
            self._fillers.append(filler)
            try:
                filler.connect(self._listener.getsockname())
            except TimeoutError:
                return


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(PIECE_BYTES):
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
