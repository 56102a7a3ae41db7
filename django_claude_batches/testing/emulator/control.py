"""Control an emulator that runs as a process, over HTTP: calls of `ClaudeEmulator` by name.

Below `/_emulator/`: `GET ledger`, and `POST` of `finish`, `expire`, `archive`, `pass_time`, `fault`, `clear_faults`,
`bend`, `unbend` or `add_stranger` with the method's arguments as a JSON object: for `bend` and `unbend` those of
`Bend`, or of `RandomBends` with `"at_random": true`. It needs no key; the server is on loopback only.

Pages in the developer's browser can reach loopback too. So a request whose `Host` or `Origin` names another host is
refused: the former would be DNS rebinding, the latter a request from any open page.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol

from .auth import Hosts
from .faults.bends import Bend
from .faults.random_bends import RandomBends, bend_of
from .http_messages import Request, Response, as_json

VERBS = ("finish", "expire", "archive", "pass_time", "fault", "clear_faults", "bend", "unbend", "add_stranger")
BENDS = frozenset({"bend", "unbend"})


class Steered(Protocol):
    """The methods of `ClaudeEmulator` that are used here, besides `VERBS`."""

    def ledger(self) -> dict[str, Any]: ...

    def now(self) -> datetime: ...


class Control:
    """Answers with `{"returned": …}`, or with 400 and `{"error": …}` if the method raised."""

    def __init__(self, emulator: Steered, *, hosts: Hosts) -> None:
        self._emulator = emulator
        self._hosts = hosts

    def respond(self, request: Request) -> Response:
        for name in ("host", "origin"):
            if name in request.headers and not self._hosts.is_own(request.headers[name]):
                text = f"{name} {request.headers[name]} is not a loopback name: allow it with --allow-host"
                return as_json({"error": text}, status=403)
        match request.method, request.path.removeprefix("/_emulator/"):
            case "GET", "ledger":
                return as_json({"now": self._emulator.now().isoformat()} | self._emulator.ledger())
            case "POST", verb if verb in VERBS:
                method = getattr(self._emulator, verb)
                return _called(_of_bend(method) if verb in BENDS else method, request.body)
            case _:
                return as_json({"error": f"GET ledger, or POST {', '.join(VERBS)}"}, status=404)


def _of_bend(method: Callable[[Bend | RandomBends], None]) -> Callable[..., None]:
    return lambda **arguments: method(bend_of(**arguments))


def _called(method: Callable[..., Any], body: bytes | None) -> Response:
    try:
        return as_json({"returned": method(**json.loads(body or b"{}"))})
    except (TypeError, ValueError, LookupError) as error:
        return as_json({"error": str(error)}, status=400)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 (a test's `replies`: pytest.fail raises no Exception)
        return as_json({"error": f"{type(error).__name__}: {error}"}, status=400)
