"""A relay in front of the emulator that loses, delays or replaces single answers, over real HTTP.

    with Relay(claude.url) as relay:
        relay.on("POST", "/batches", lose_answer)

The emulator shows afterwards what happened at the server.
"""

from __future__ import annotations

import http.client
import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit


@dataclass
class Exchange:
    """One request: `forward` executes it, `answer` sends an answer; without an answer the connection is closed."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    upstream: str
    reply: tuple[int, dict[str, str], bytes] | None = None

    # Bytes of the content length that are never sent.
    withheld: int = 0

    def forward(self) -> tuple[int, dict[str, str], bytes]:
        host = urlsplit(self.upstream).netloc
        connection = http.client.HTTPConnection(host, timeout=30)
        connection.request(self.method, self.path, self.body or None, {**self.headers, "Host": host})
        response = connection.getresponse()
        kept = {"anthropic-workspace-id", "content-type", "date", "request-id", "retry-after", "x-should-retry"}
        headers = {name: value for name, value in response.getheaders() if name.lower() in kept}
        body = response.read()
        connection.close()
        return response.status, headers, body


Rule = Callable[[Exchange], None]


def lose_answer(exchange: Exchange) -> None:
    """Execute the request, and send no answer."""
    exchange.forward()


def lose_request(exchange: Exchange) -> None:
    """Do not execute the request, and send no answer."""


def refuse(status: int, type_: str = "api_error", message: str = "No.", **headers: str) -> Rule:
    """Answer with an error; if the client retries it, it does so at once."""
    if not headers and (status in {408, 409, 429} or status >= 500):
        headers = {"retry_after_ms": "1"}

    def rule(exchange: Exchange) -> None:
        error = {"type": "error", "error": {"type": type_, "message": message}, "request_id": "req_011relay"}
        sent = {"content-type": "application/json", **{key.replace("_", "-"): value for key, value in headers.items()}}
        exchange.reply = (status, sent, json.dumps(error).encode())

    return rule


def rewrite(change: Callable[[bytes], bytes]) -> Rule:
    def rule(exchange: Exchange) -> None:
        status, headers, body = exchange.forward()
        exchange.reply = (status, headers, change(body))

    return rule


def counting(change: Callable[[dict[str, Any]], Any]) -> Rule:
    """Change `request_counts` of a batch, or of each listed batch."""

    def changed(body: bytes) -> bytes:
        data = json.loads(body)
        for batch in data.get("data", [data]):
            if "request_counts" in batch:
                batch["request_counts"] = change(batch["request_counts"])
        return json.dumps(data).encode()

    return rewrite(changed)


def listing(change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> Rule:
    """Change the entries of a page of a listing; an empty page becomes the last one."""

    def changed(body: bytes) -> bytes:
        page = json.loads(body)
        page["data"] = change(page["data"])
        ids = [batch["id"] for batch in page["data"]] or [None]
        return json.dumps(
            page | {"first_id": ids[0], "last_id": ids[-1], "has_more": page["has_more"] and ids != [None]}
        ).encode()

    return rewrite(changed)


def cut(keep: Callable[[bytes], bytes]) -> Rule:
    """Close the connection after this part of the answer."""

    def rule(exchange: Exchange) -> None:
        status, headers, body = exchange.forward()
        kept = keep(body)
        exchange.reply = (status, headers, kept)
        exchange.withheld = len(body) - len(kept)

    return rule


@dataclass
class Relay:
    """While entered, ANTHROPIC_BASE_URL points at it. A rule applies to `times` requests, then the next rule."""

    upstream: str
    seen: list[tuple[str, str]] = field(default_factory=list)
    rules: list[list[Any]] = field(default_factory=list)

    def on(self, method: str, suffix: str, rule: Rule, *, times: int = 1_000_000) -> None:
        self.rules.append([method, suffix, rule, times])

    def exchange(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Exchange:
        return Exchange(method, path, headers, body, self.upstream)

    def calls(self, method: str, suffix: str) -> int:
        return sum(1 for m, path in self.seen if m == method and path.partition("?")[0].endswith(suffix))

    def decide(self, exchange: Exchange) -> None:
        self.seen.append((exchange.method, exchange.path))
        for entry in self.rules:
            method, suffix, rule, times = entry
            if times and exchange.method == method and exchange.path.partition("?")[0].endswith(suffix):
                entry[3] -= 1
                return rule(exchange)
        exchange.reply = exchange.forward()
        return None

    def __enter__(self) -> Self:
        relay = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # otherwise each answer waits 40 ms for an acknowledgment

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                exchange = relay.exchange(self.command, self.path, dict(self.headers), body)
                relay.decide(exchange)
                if exchange.reply is None:
                    self.close_connection = True
                    return
                status, headers, content = exchange.reply
                self.send_response_only(status)  # the server's own Date, or none
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content) + exchange.withheld))
                self.end_headers()
                self.wfile.write(content)
                self.close_connection = self.close_connection or exchange.withheld > 0

            do_GET = do_POST = do_DELETE = handle_any

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        # The interval is what `shutdown` waits for: half a second unless told otherwise.
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self._before = os.environ["ANTHROPIC_BASE_URL"]
        os.environ["ANTHROPIC_BASE_URL"] = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.environ["ANTHROPIC_BASE_URL"] = self._before
        self._server.shutdown()
        self._server.server_close()
