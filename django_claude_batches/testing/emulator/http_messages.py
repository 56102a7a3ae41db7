"""The messages between the server and the routes: a request as received, and a response with how it is sent."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote

from . import errors

# The batches' verbs (§1).
VERBS = ("create", "retrieve", "list", "cancel", "delete", "results")

# Headers of a body; if a bend set or removed one, the answer is not compressed.
FRAMING = frozenset({"content-length", "content-encoding", "vary"})


@dataclass(frozen=True)
class Request:
    """A request as received: header names in lower case, `body` None if it was over the limit.

    Faults set `lands_in` and `seen_in`: a create call's batch is made after this many seconds of the emulator's clock,
    and is visible to calls this many seconds later.
    """

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes | None
    lands_in: float = 0.0
    seen_in: float = 0.0


@dataclass(frozen=True)
class Delivery:
    """How a response is sent: whole and at once by default. Times are real seconds.

    With `lost`, nothing is sent. With `cut`, the connection is closed before the end of the response: after
    `sent_bytes` of a body of bytes. With `reset`, the client sees that as a reset connection. The body is sent in
    pieces of `piece_bytes`, with `pause` between. `drip` is a pause after each byte, including those of the status line
    and the headers. `endless` is sent forever, with `pause` between: "continue" instead of the response, or "trailers"
    after its body.
    """

    delay: float = 0.0
    lost: bool = False
    cut: bool = False
    sent_bytes: int | None = None
    reset: bool = False
    piece_bytes: int | None = None
    pause: float = 0.0
    drip: float = 0.0
    endless: str = ""

    @property
    def outcome(self) -> str:
        """Return how the response ends: "whole", "cut" or "lost"."""
        if self.lost:
            return "lost"
        return "cut" if self.cut else "whole"


@dataclass(frozen=True)
class Response:
    """A response to send. `body` is bytes, or an iterable of pieces to be sent chunked. `batch_id` is its batch.

    `omits` are headers that are not sent. `faults` are the names of the faults that changed it. `reason` is the
    phrase of the status line, None for the usual one.
    """

    status: int
    headers: dict[str, str]
    body: bytes | Iterable[bytes]
    batch_id: str | None = None
    delivery: Delivery = Delivery()
    omits: frozenset[str] = frozenset()
    faults: list[str] = field(default_factory=list)
    reason: str | None = None

    def sent(self, **how: Any) -> Response:
        """Return the response with other values of its `Delivery`."""
        return replace(self, delivery=replace(self.delivery, **how))


def asked(request: Request) -> tuple[str, str]:
    """Return the verb of a request, and the id in its path ("" for none), or raise a 404 or 405.

    The verbs are `VERBS`, and those of the other endpoints, which faults do not affect.
    """
    match [unquote(part) for part in request.path.split("/")]:
        case ["", "v1", "messages", "batches"]:
            verbs, batch_id = {"GET": "list", "POST": "create"}, ""
        case ["", "v1", "messages", "batches", batch_id] if batch_id:
            verbs = {"GET": "retrieve", "DELETE": "delete"}
        case ["", "v1", "messages", "batches", batch_id, "cancel"] if batch_id:
            verbs = {"POST": "cancel"}
        case ["", "v1", "messages", "batches", batch_id, "results"] if batch_id:
            verbs = {"GET": "results"}
        case ["", "v1", "messages", "count_tokens"]:
            verbs, batch_id = {"POST": "count_tokens"}, ""
        case ["", "v1", "models"]:
            verbs, batch_id = {"GET": "list_models"}, ""
        case ["", "v1", "models", model] if model:
            verbs, batch_id = {"GET": "retrieve_model"}, model
        case _:
            raise errors.path_unknown()
    if request.method not in verbs:
        raise errors.method_not_allowed()
    return verbs[request.method], batch_id


def encoded(value: Any) -> bytes:
    """Encode as compact JSON in UTF-8; a lone surrogate, which UTF-8 cannot contain, becomes its escape."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="backslashreplace")


def as_json(value: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(status, {"content-type": "application/json"} | (headers or {}), encoded(value))


def refused(refusal: errors.Refusal, headers: dict[str, str]) -> Response:
    """Return the response for `refusal`. `headers` contain the request-id."""
    body = refusal.body(request_id=headers["request-id"])
    return as_json(body, status=refusal.status, headers=headers | {"x-should-retry": "false"})


def compressed(request: Request, response: Response) -> Response:
    """Return the response compressed with gzip on request, if it is JSON that no fault or bend changed (§2.2)."""
    body, headers = response.body, response.headers
    is_plain = response.delivery == Delivery() and not FRAMING & {*headers, *response.omits}
    if not is_plain or not isinstance(body, bytes) or headers.get("content-type") != "application/json":
        return response
    vary = {"vary": "Accept-Encoding"}
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return replace(response, headers=headers | vary)
    encoded = gzip.compress(body, compresslevel=1, mtime=0)
    return replace(response, headers=headers | vary | {"content-encoding": "gzip"}, body=encoded)
