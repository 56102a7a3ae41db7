"""The server's freedoms: different answers that a correct server may give.

Each is off until a step enables it, and `Server` ignores those that are not in its `freedoms`:

`COUNTS`    `request_counts` say anything, for a while or for good, also of a batch that has ended.
`LISTINGS`  a batch may be absent from every listing until the quiet period is over. Later it may still be absent from
            one, but never from two successive ones that the same key asks for. Single GETs answer all the time.
`CLOCKS`    each batch was made by a node whose clock is off. The clocks differ by less than the margin, and a listing's
            order, like `Date`, goes by them.
`DELETION`  a stranger deletes an ended batch that a listing showed to an account that searches for it.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from django_claude_batches.testing import ClaudeEmulator
from tests.harness.relay import Exchange
from tests.reliability.protocol.clock import Clock

COUNTS, LISTINGS, CLOCKS, DELETION = "counts", "listings", "clocks", "deletion"
FREEDOMS = frozenset({COUNTS, LISTINGS, CLOCKS, DELETION})

NO_TIME = timedelta()

Reply = tuple[int, dict[str, str], bytes]
Counts = dict[str, int]

HONEST = "honest"
NONE_YET = dict.fromkeys(("succeeded", "errored", "canceled", "expired"), 0)

# What `request_counts` become.
SAID: dict[str, Callable[[Counts], object]] = {
    HONEST: lambda counts: counts,
    "processing falls, and nothing rises": lambda counts: {**NONE_YET, "processing": counts["processing"] // 2},
    "one too many": lambda counts: {**counts, "succeeded": counts["succeeded"] + 1},
    "nothing": lambda counts: dict.fromkeys(counts, 0),
    "null": lambda counts: None,
    "each null": dict.fromkeys,
    "half of them": lambda counts: {"processing": 1},
    "no numbers": lambda counts: {**counts, "succeeded": "many", "processing": -1},
}

WHOLE = "whole"

# What a listing lacks if it may, of the ids newest first. All but the first lack what is new.
ABSENT: dict[str, Callable[[list[str]], Iterable[str]]] = {
    WHOLE: lambda ids: (),
    "new ones are absent": lambda ids: (),
    "empty": lambda ids: ids,
    "the newest is absent": lambda ids: ids[:1],
    "only the newest": lambda ids: ids[1:],
}

SECONDS_BEHIND = timedelta(seconds=-2)

# How far the clocks of the nodes are off that answer in turn: any two differ by less than 15 minutes.
NODES: list[Sequence[timedelta]] = [
    [NO_TIME],
    [NO_TIME, SECONDS_BEHIND],
    [timedelta(minutes=7), timedelta(minutes=-7)],
    [timedelta(minutes=-7), NO_TIME, timedelta(minutes=7)],
]

# Within this time of a call's arrival, by each clock, its batch is made and listed. It arrives at most SEND_DEADLINE,
# 10 minutes, after `sent_at`; the quiet period, which is an assumption about the server, ends 50 minutes after that.
TAKES = timedelta(minutes=38)

# The same where SEND_DEADLINE and CREATE_READ_TIMEOUT are a minute each: the quiet period ends 32 minutes after.
TAKES_AT_LEAST = timedelta(minutes=29)


class Arrival(NamedTuple):
    # By the database's clock, which jumps.
    now: datetime
    passed: timedelta
    takes: timedelta

    def is_over(self, clock: Clock, *, jump: timedelta = NO_TIME, passing: timedelta = NO_TIME) -> bool:
        """Whether the server has had its time, or will have had it after this jump or passing of time."""
        ahead = clock.now + jump + passing, clock.passed + passing
        return ahead[0] - self.now > self.takes or ahead[1] - self.passed > self.takes


class Server:
    """The emulator's answers, bent by the freedoms that this server takes at the time."""

    def __init__(self, claude: ClaudeEmulator, clock: Clock, freedoms: Collection[str] = ()) -> None:
        self._claude, self._clock = claude, clock
        self.freedoms = frozenset(freedoms)
        self.takes = TAKES
        self._counts, self._counts_until = HONEST, timedelta.max
        self._listing = WHOLE
        self._nodes = NODES[0]
        self._skews: dict[str, timedelta] = {}
        self._calls: dict[str, Arrival] = {}
        self._arrivals: dict[str, Arrival] = {}
        self._absent: dict[str, set[str]] = {}
        self._just_absent: dict[str, set[str]] = {}
        self._goes_on_at: dict[str, str | None] = {}

        # What listings showed since this was emptied: the key that asked, and the id.
        self.showing: set[tuple[str, str]] = set()

    # Which freedoms it takes from now on.

    def say_of_counts(self, name: str, lasting: timedelta | None = None) -> None:
        if COUNTS in self.freedoms:
            self._counts = name
            self._counts_until = timedelta.max if lasting is None else self._clock.passed + lasting

    def list_as(self, name: str) -> None:
        if LISTINGS in self.freedoms:
            self._listing = name

    def answer_from(self, nodes: Sequence[timedelta]) -> None:
        """Let these nodes make what is made from now on, one batch each, in turn."""
        self._notice()
        if CLOCKS in self.freedoms:
            self._nodes = nodes

    # Its answers.

    def create_arrives(self, custom_id: str) -> None:
        """A create call whose first request is this one has come, and may be held back."""
        self._calls.setdefault(custom_id, self._arrival())

    def is_out_of_time(self, custom_id: str, *, jump: timedelta = NO_TIME, passing: timedelta = NO_TIME) -> bool:
        """Whether a create call that came must have been carried out when the clock has jumped, or time passed."""
        return self._calls[custom_id].is_over(self._clock, jump=jump, passing=passing)

    def _arrival(self) -> Arrival:
        return Arrival(self._clock.now, self._clock.passed, self.takes)

    def answer(self, exchange: Exchange) -> Reply:
        if exchange.method == "GET" and exchange.path.partition("?")[0].endswith("/batches"):
            return self._page(exchange)
        status, headers, body = pass_on(exchange, exchange.path)
        self._notice()
        if status == 200 and headers.get("content-type") == "application/json":
            body = json.dumps(self._bent(json.loads(body))).encode()
        return status, self._dated(headers), body

    def _notice(self) -> None:
        """Note of the batches that are new when they came, and which node made each."""
        for batch in self._claude.batches:
            if batch.id not in self._skews:
                self._skews[batch.id] = self._node()
                self._arrivals[batch.id] = self._calls.get(batch.custom_ids[0], self._arrival())

    def _node(self) -> timedelta:
        return self._nodes[len(self._skews) % len(self._nodes)]

    def _bent(self, data: dict[str, Any]) -> dict[str, Any]:
        if data.get("type") != "message_batch":
            return data
        skew = self._skews.get(data["id"], NO_TIME)
        moments = {
            name: (datetime.fromisoformat(data[name]) + skew).isoformat(timespec="microseconds")
            for name in ("created_at", "expires_at")
        }
        said = self._counts if self._clock.passed < self._counts_until else HONEST
        counts = SAID[said](data["request_counts"])
        return {**data, **moments, "request_counts": counts}

    def _dated(self, headers: dict[str, str]) -> dict[str, str]:
        """By the clock that the test moves: the emulator's own header says the time of this machine."""
        return {**headers, "date": format_datetime((self._claude.now() + self._node()).astimezone(UTC), usegmt=True)}

    def _page(self, exchange: Exchange) -> Reply:
        """Answer a page of what this listing shows. One that does not go on where the last one ended begins another."""
        path, _, query = exchange.path.partition("?")
        asked = {name: values[0] for name, values in parse_qs(query).items()}
        status, headers, body = pass_on(exchange, f"{path}?limit=1000")
        self._notice()
        if status != 200:
            return status, self._dated(headers), body
        batches = sorted(map(self._bent, json.loads(body)["data"]), key=created_at, reverse=True)
        ids = [data["id"] for data in batches]
        key, cursor = key_of(exchange), asked.get("after_id")
        if cursor is not None and cursor not in ids:
            return pass_on(exchange, exchange.path)  # to be refused
        if cursor is None or cursor != self._goes_on_at.get(key):
            self._begin_listing(key, ids)
        absent = self._absent.get(key, set())
        rest = batches[0 if cursor is None else ids.index(cursor) + 1 :]
        listed = [data for data in rest if data["id"] not in absent]
        part = listed[: int(asked.get("limit", 20))]
        page = {
            "data": part,
            "has_more": len(part) < len(listed),
            "first_id": part[0]["id"] if part else None,
            "last_id": part[-1]["id"] if part else None,
        }
        self._goes_on_at[key] = page["last_id"]
        self.showing |= {(key, data["id"]) for data in part}
        return 200, self._dated(headers), json.dumps(page).encode()

    def _begin_listing(self, key: str, ids: list[str]) -> None:
        new = {remote_id for remote_id in ids if not self._arrivals[remote_id].is_over(self._clock)}
        chosen = set(ABSENT[self._listing](ids)) - self._just_absent.get(key, set()) - new
        self._just_absent[key] = chosen
        self._absent[key] = chosen if self._listing == WHOLE else chosen | new


def created_at(data: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(data["created_at"])


def key_of(exchange: Exchange) -> str:
    headers = {name.lower(): value for name, value in exchange.headers.items()}
    return headers.get("x-api-key") or headers["authorization"].removeprefix("Bearer ")


def pass_on(exchange: Exchange, path: str) -> Reply:
    """Pass a request on to the emulator, and give its answer; names of headers in lower case."""
    host = urlsplit(exchange.upstream).netloc
    connection = http.client.HTTPConnection(host, timeout=30)
    connection.request(exchange.method, path, exchange.body or None, {**exchange.headers, "Host": host})
    response = connection.getresponse()
    dropped = {"content-length", "transfer-encoding", "connection", "server"}
    headers = {name.lower(): value for name, value in response.getheaders() if name.lower() not in dropped}
    body = response.read()
    connection.close()
    return response.status, headers, body
