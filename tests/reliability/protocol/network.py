"""A relay to the server that can lose, replace or delay requests and answers, or let something happen meanwhile."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from django_claude_batches.services.submission.baseline import MAX_ANCHORS
from tests.harness.relay import Exchange, Relay, Rule, lose_answer, lose_request, refuse
from tests.reliability.protocol.server import Reply, Server

CREATE, BASELINE, LIST, RETRIEVE, RESULTS, CANCEL, DELETE = (
    *("create", "baseline", "list", "retrieve", "results", "cancel", "delete"),
)


def call_of(exchange: Exchange) -> str:
    path, _, query = exchange.path.partition("?")
    if path.endswith("/results"):
        return RESULTS
    if path.endswith("/cancel"):
        return CANCEL
    if path.endswith("/batches"):
        listing = BASELINE if query == f"limit={MAX_ANCHORS}" else LIST
        return CREATE if exchange.method == "POST" else listing
    return DELETE if exchange.method == "DELETE" else RETRIEVE


def first_custom_id(exchange: Exchange) -> str:
    return str(json.loads(exchange.body)["requests"][0]["custom_id"])


def tag_of(custom_id: str) -> str:
    return custom_id.partition("_")[0]


@dataclass
class Call(Exchange):
    """An exchange with a server that has freedoms."""

    server: Server = field(kw_only=True)

    def forward(self) -> Reply:
        return self.server.answer(self)


def answer(exchange: Exchange) -> None:
    exchange.reply = exchange.forward()


def cut_at(share: float) -> Rule:
    """The connection breaks when this share (0 to 1) of the answer has come."""

    def rule(exchange: Exchange) -> None:
        status, headers, body = exchange.forward()
        kept = body[: int(len(body) * share)]
        exchange.reply, exchange.withheld = (status, headers, kept), len(body) - len(kept)

    return rule


def done_but(refusal: Rule) -> Rule:
    """Execute the request, and answer that it failed."""

    def rule(exchange: Exchange) -> None:
        exchange.forward()
        refusal(exchange)

    return rule


def _lines(change: Callable[[list[bytes]], list[bytes]]) -> Rule:
    def rule(exchange: Exchange) -> None:
        status, headers, body = exchange.forward()
        exchange.reply = (status, headers, b"".join(change(body.splitlines(keepends=True))))

    return rule


FOREIGN_ID = "another_1"
FOREIGN = json.dumps({"custom_id": FOREIGN_ID, "result": {"type": "canceled"}}).encode() + b"\n"

CREATES: dict[str, Rule] = {
    "answer lost": lose_answer,
    "request lost": lose_request,
    "answer cut": cut_at(0.5),
    "answer is no batch": lambda exchange: (exchange.forward(), setattr(exchange, "reply", (200, {}, b"<html>")))[0],
    "400": refuse(400, "invalid_request_error"),
    "401": refuse(401, "authentication_error"),
    "413": refuse(413, "request_too_large"),
    "429": refuse(429, "rate_limit_error", retry_after="90"),
    "500": refuse(500),
    "500, and done": done_but(refuse(500)),
    "408, and done": done_but(refuse(408, "timeout_error")),
    "529": refuse(529, "overloaded_error"),
}
LATE = "lands late"
READS: dict[str, Rule] = {
    "answer lost": lose_answer,
    "429": refuse(429, "rate_limit_error"),
    "500": refuse(500),
    "404": refuse(404, "not_found_error"),
    "401": refuse(401, "authentication_error"),
    "cut": cut_at(0.6),
}
RESULT_LINES: dict[str, Rule] = {
    "empty": _lines(lambda lines: []),
    "a line missing": _lines(lambda lines: lines[1:]),
    "a line twice": _lines(lambda lines: lines[:1] + lines),
    "garbage first": _lines(lambda lines: [b"{\n", *lines]),
    "a foreign line first": _lines(lambda lines: [FOREIGN, *lines]),
}


@dataclass
class Fault:
    """A fault of one kind of call: once for a create call, for all others until the step is over."""

    call: str
    name: str


@dataclass
class Meanwhile:
    """Something that happens while the first call of a kind is on its way, or while its answer is."""

    call: str
    does: Callable[[], object]
    is_before: bool


@dataclass
class Network(Relay):
    """The relay of one test, used by one world after the other."""

    server: Server = field(init=False)
    fault: Fault | None = None
    meanwhile: Meanwhile | None = None
    late: list[Exchange] = field(default_factory=list)

    # How many create calls bore each tag.
    creates: Counter[str] = field(default_factory=Counter)
    errors: list[BaseException] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        super().__enter__()
        # Head and body leave in two packets: without this the second may wait 40 ms for the first one's receipt.
        self._server.RequestHandlerClass.disable_nagle_algorithm = True  # type: ignore[attr-defined]
        return self

    def begin(self, upstream: str, server: Server) -> None:
        """Serve another world."""
        self.upstream, self.server = upstream, server
        self.fault = self.meanwhile = None
        self.seen.clear()
        self.late.clear()
        self.creates.clear()
        self.errors.clear()

    def exchange(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Call:
        return Call(method, path, headers, body, self.upstream, server=self.server)

    def decide(self, exchange: Exchange) -> None:
        if len(exchange.body) < int(exchange.headers.get("Content-Length") or 0):
            return None  # its sender broke it off
        call = call_of(exchange)
        self.seen.append((exchange.method, exchange.path))
        if call == CREATE:
            self.creates[tag_of(first_custom_id(exchange))] += 1
            self.server.create_arrives(first_custom_id(exchange))
        rule = self._rule(call)
        meanwhile = self.meanwhile if self.meanwhile and self.meanwhile.call == call else None
        if meanwhile is None:
            return rule(exchange)
        self.meanwhile = None
        try:
            if meanwhile.is_before:
                meanwhile.does()
            rule(exchange)
            if not meanwhile.is_before:
                meanwhile.does()
        except BaseException as error:  # noqa: BLE001  it is raised again in the test's own thread
            self.errors.append(error)
        return None

    def land(self) -> None:
        """Let a delayed create call arrive, if there is one; its answer is lost."""
        if self.late:
            self.late.pop(0).forward()

    def _rule(self, call: str) -> Rule:
        fault = self.fault
        if fault is None or fault.call != call:
            return answer
        if call == CREATE:
            self.fault = None
            return self.late.append if fault.name == LATE else CREATES[fault.name]
        return (READS | RESULT_LINES)[fault.name]
