"""The stub as a process that the benchmark controls."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode


class StubProcess:
    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def finish(self, id: str, **options: object) -> None:
        """Build the results and end the batch; options are `gzip=1` and `large_mb=32`."""
        self._ask("POST", f"/_stub/finish/{id}", options)

    def seed(self, count: int, **options: object) -> str:
        """Make an ended batch and return its id."""
        return str(self._ask("POST", "/_stub/seed", {"count": count, **options})["id"])

    def forget(self, id: str) -> None:
        """Delete a batch and its results, which may have hundreds of megabytes."""
        self._ask("DELETE", f"/v1/messages/batches/{id}", {})

    def asked(self) -> int:
        """Return the number of API requests so far."""
        return int(self._ask("GET", "/_stub/asked", {})["asked"])

    def _ask(self, method: str, path: str, query: dict[str, object]) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        try:
            connection.request(method, f"{path}?{urlencode(query)}")
            response = connection.getresponse()
            answer: dict[str, Any] = json.loads(response.read())
        finally:
            connection.close()
        if response.status != 200:
            raise RuntimeError(f"the stub says {response.status} to {method} {path}: {answer}")
        return answer


@contextmanager
def stub(*arguments: str) -> Iterator[StubProcess]:
    """Start a stub, and end it afterwards."""
    command = [sys.executable, "-m", "tests.benchmarks.stub", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield StubProcess(int(process.stdout.readline().split()[1]))
        finally:
            process.kill()
