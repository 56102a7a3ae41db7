"""`python -m tests.benchmarks.stub [--in-flight M] [--latency MS]` prints `ready PORT` when it serves.

It ends when its standard input is closed, so that it does not outlive the process that started it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import sys
import threading
import time

from tests.benchmarks.stub.batches import Batches
from tests.benchmarks.stub.connection import Connection, Request

BATCHES = "/v1/messages/batches"
CONTROL = "/_stub/"
MAX_BODY_BYTES = 256_000_000


class Stub:
    def __init__(self, batches: Batches, latency: float) -> None:
        self._batches, self._latency = batches, latency
        self._asked = 0

    def serve(self, listener: socket.socket) -> None:
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=self._talk, args=(Connection(sock),), daemon=True).start()

    def _talk(self, connection: Connection) -> None:
        with contextlib.closing(connection), contextlib.suppress(ConnectionError, ValueError):
            while (request := connection.read()) is not None:
                if request.path.startswith(CONTROL):
                    self._control(connection, request)
                else:
                    self._asked += 1
                    time.sleep(self._latency)
                    self._answer(connection, request)

    def _control(self, connection: Connection, request: Request) -> None:
        """Answer the benchmark's own calls: `finish/ID`, `seed`, `asked`."""
        verb, _, key = request.path.removeprefix(CONTROL).partition("/")
        gzip = "gzip" in request.query
        if verb == "finish":
            self._batches.all[key].finish(gzip=gzip, large_mb=int(request.query.get("large_mb", 0)))
            connection.answer(200, self._batches.all[key].as_json())
        elif verb == "seed":
            connection.answer(200, self._batches.seed(int(request.query["count"]), gzip=gzip).as_json())
        else:
            connection.answer(200, {"asked": self._asked})

    def _answer(self, connection: Connection, request: Request) -> None:
        key, _, tail = request.path.removeprefix(BATCHES).strip("/").partition("/")
        if not request.path.startswith(BATCHES) or (key and key not in self._batches.all):
            connection.refuse(404, "not_found_error", "no such batch or path")
        elif not key:
            self._all(connection, request)
        elif tail == "results":
            self._results(connection, request, key)
        elif request.method == "DELETE":
            del self._batches.all[key]
            connection.answer(200, {"id": key, "type": "message_batch_deleted"})
        else:
            connection.answer(200, self._batches.all[key].as_json())

    def _all(self, connection: Connection, request: Request) -> None:
        if request.method == "GET":
            limit = int(request.query.get("limit", 20))
            return connection.answer(200, self._batches.page(limit, request.query.get("after_id")))
        if len(request.body) > MAX_BODY_BYTES:
            return connection.refuse(413, "request_too_large", "Request exceeds the maximum size")
        batch = self._batches.create(request.body)
        if batch is None:
            return connection.refuse(400, "invalid_request_error", "not 1 to 100000 requests")
        return connection.answer(200, batch.as_json())

    def _results(self, connection: Connection, request: Request, key: str) -> None:
        batch = self._batches.all[key]
        if not batch.has_ended:
            return connection.refuse(404, "not_found_error", "no results yet")
        if batch.gzip is not None and "gzip" in request.headers.get("accept-encoding", ""):
            return connection.stream(batch.gzip, gzip=True)
        return connection.stream(batch.identity, gzip=False)


def end_with_input() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.stub")
    parser.add_argument("--in-flight", type=int, default=0, help="batches that stay in progress")
    parser.add_argument("--latency", type=float, default=0, help="milliseconds before each answer")
    options = parser.parse_args()
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        port = listener.getsockname()[1]
        threading.Thread(target=end_with_input, daemon=True).start()
        stub = Stub(Batches(f"http://127.0.0.1:{port}", options.in_flight), options.latency / 1000)
        print("ready", port, flush=True)
        stub.serve(listener)
