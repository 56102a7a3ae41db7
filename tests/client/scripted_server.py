"""A server that answers from a script, over real HTTP on loopback, and remembers what it received.

It knows nothing of the API: the tests say what is answered, byte by byte where that matters.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Received:
    method: str
    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes
    port: int
    """The client's: two requests from one port came over one connection."""


@dataclass(frozen=True)
class Answer:
    """`chunks` are sent with chunked encoding; `cut` closes the connection before the answer is complete."""

    status: int = 200
    data: Any = None
    reason: str | None = None
    body: bytes | None = None
    chunks: tuple[bytes, ...] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0
    cut: bool = False

    def bytes(self) -> bytes:
        return json.dumps(self.data).encode() if self.body is None else self.body


@dataclass(frozen=True)
class Raw:
    """Bytes in place of an answer, head and all, after which the connection is closed."""

    bytes: bytes


@dataclass(frozen=True)
class Hangup:
    """No answer at all: the connection is closed, or reset."""

    reset: bool = False


def refused(status: int, type_: str, message: str, *, details: dict[str, Any] | None = None, **headers: str) -> Answer:
    """An error in the API's envelope; in `headers` underscores are hyphens."""
    error: dict[str, Any] = {"type": type_, "message": message}
    if details is not None:
        error["details"] = details
    body = {"type": "error", "error": error, "request_id": "req_011body"}
    return Answer(status, body, headers={name.replace("_", "-"): value for name, value in headers.items()})


class Script:
    """The answers in their order; the last one is given again and again."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.received: list[Received] = []
        self._answers: list[Answer | Raw | Hangup] = []
        self._came = threading.Condition()

    def answers(self, *answers: Answer | Raw | Hangup) -> None:
        self._answers = list(answers)

    def next_answer(self, received: Received) -> Answer | Raw | Hangup:
        with self._came:
            self.received.append(received)
            self._came.notify_all()
            return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    def received_in_the_end(self, count: int) -> list[Received]:
        """Give what was received once it is so many: a client that gave up early may be ahead of the server."""
        with self._came:
            self._came.wait_for(lambda: len(self.received) >= count, timeout=20)
            return list(self.received)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    script: Script
    disable_nagle_algorithm = True

    def do_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        received = Received(self.command, self.path, headers, body, self.client_address[1])
        answer = self.script.next_answer(received)
        if isinstance(answer, Hangup):
            self.hang_up(reset=answer.reset)
        elif isinstance(answer, Raw):
            self.wfile.write(answer.bytes)
            self.close_connection = True
        else:
            time.sleep(answer.delay)
            self.give(answer)

    do_GET = do_POST = do_DELETE = do_CONNECT = do_any

    def give(self, answer: Answer) -> None:
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.chunks is None:
            self.send_header("Content-Length", str(len(answer.bytes()) + (10 if answer.cut else 0)))
            self.end_headers()
            self.wfile.write(answer.bytes())
        else:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for chunk in answer.chunks:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            self.wfile.write(b"" if answer.cut else b"0\r\n\r\n")
        self.close_connection = self.close_connection or answer.cut

    def hang_up(self, *, reset: bool) -> None:
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.rfile.close()
            self.connection.close()
        self.close_connection = True

    def finish(self) -> None:
        if self.connection.fileno() != -1:
            super().finish()

    def log_message(self, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay silent: clients of these tests hang up, too."""

    def shutdown_request(self, request: Any) -> None:
        if request.fileno() != -1:
            super().shutdown_request(request)


@contextmanager
def serving() -> Iterator[Script]:
    server = Server(("127.0.0.1", 0), Handler)
    script = Script(f"http://127.0.0.1:{server.server_address[1]}")
    server.RequestHandlerClass = type("ScriptedHandler", (Handler,), {"script": script})
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield script
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


BATCH_ID = "msgbatch_01QqYr4Qk28BBxwJ9N9L4PxX"


def batch(**changes: Any) -> dict[str, Any]:
    """A batch as the API gave it on 2026-05-01 (docs/reference/wire.md §3.1)."""
    return {
        "id": BATCH_ID,
        "type": "message_batch",
        "processing_status": "in_progress",
        "request_counts": {"processing": 1, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0},
        "created_at": "2026-05-01T20:29:05.358585+00:00",
        "expires_at": "2026-05-02T20:29:05.358585+00:00",
        "ended_at": None,
        "archived_at": None,
        "cancel_initiated_at": None,
        "results_url": None,
    } | changes


def page(*batches: dict[str, Any], has_more: bool = False) -> Answer:
    ids = [item["id"] for item in batches] or [None]
    return Answer(data={"data": list(batches), "has_more": has_more, "first_id": ids[0], "last_id": ids[-1]})
