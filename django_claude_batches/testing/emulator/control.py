"""Steering an emulator over HTTP, for one that runs as a process: calls of `ClaudeEmulator` by name.

Below `/_emulator/`: `GET ledger`, and `POST` of `finish`, `expire`, `archive`, `pass_time`, `fault`, `clear_faults` or
`add_stranger` with the method's arguments as a JSON object. It needs no key; the server is on loopback only.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol

from .exchange import Request, Response, as_json

VERBS = ("finish", "expire", "archive", "pass_time", "fault", "clear_faults", "add_stranger")


class Steered(Protocol):
    """What of `ClaudeEmulator` is needed by name; `VERBS` are the rest."""

    def ledger(self) -> dict[str, Any]: ...

    def now(self) -> datetime: ...


class Control:
    """Answers with `{"returned": …}`, or with 400 and `{"error": …}` where the method raised."""

    def __init__(self, emulator: Steered) -> None:
        self._emulator = emulator

    def respond(self, request: Request) -> Response:
        match request.method, request.path.removeprefix("/_emulator/"):
            case "GET", "ledger":
                return as_json({"now": self._emulator.now().isoformat()} | self._emulator.ledger())
            case "POST", verb if verb in VERBS:
                return _called(getattr(self._emulator, verb), request.body)
            case _:
                return as_json({"error": f"GET ledger, or POST {', '.join(VERBS)}"}, status=404)


def _called(method: Callable[..., Any], body: bytes | None) -> Response:
    try:
        return as_json({"returned": method(**json.loads(body or b"{}"))})
    except (TypeError, ValueError, LookupError) as error:
        return as_json({"error": str(error)}, status=400)
