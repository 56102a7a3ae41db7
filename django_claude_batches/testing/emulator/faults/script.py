"""Script faults and bends: decide to which requests each applies, and apply them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from django_claude_batches.testing.emulator import errors
from django_claude_batches.testing.emulator.auth import key_in
from django_claude_batches.testing.emulator.http_messages import Request, Response, asked, refused
from django_claude_batches.testing.emulator.routes import Routes

from . import connection, listings, objects, refusals, results, values
from .bends import Bend
from .context import Fault, Turn, meant, verbs_of
from .random_bends import DRAWN, RandomBends

KNOWN: dict[str, Fault] = (
    connection.FAULTS | refusals.FAULTS | objects.FAULTS | listings.FAULTS | results.FAULTS | values.FAULTS
)


@dataclass
class Scripted:
    """A scripted fault: it applies to `times` matching requests from the `at`-th on, and to a `share` of these."""

    name: str
    fault: Fault
    options: dict[str, Any]
    random: Random
    at: int
    times: int | None
    share: float
    batch: str | None
    key: str | None
    bend: Bend | RandomBends | None = None
    seen: int = 0

    def __post_init__(self) -> None:
        if self.at < 1 or (self.times is not None and self.times < 1) or not 0 <= self.share <= 1:
            raise ValueError(
                f"at is {self.at}, times {self.times}, share {self.share}: at and times are at least 1, share is 0 to 1"
            )

    def meets(self, verb: str, batch_id: str, key: str) -> bool:
        """Count the request if it matches, and return whether the fault applies to it."""
        if verb not in self.fault.verbs or self.batch not in (None, batch_id) or self.key not in (None, key):
            return False
        self.seen += 1
        if self.seen < self.at or (self.times is not None and self.seen >= self.at + self.times):
            return False
        return self.share >= 1 or self.random.random() < self.share


class Faults:
    """The scripted faults. If several apply to one request, a later one changes the answer of the earlier ones."""

    def __init__(self, *, seed: str) -> None:
        self._seed = seed
        self._scripted: list[Scripted] = []
        self._lock = threading.Lock()

    def add(self, name: str, options: dict[str, Any], *, on: str | Iterable[str] | None, **where: Any) -> None:
        """See `ClaudeEmulator.fault`."""
        fault = known(name, options)
        fault = fault if on is None else fault._replace(verbs=verbs_of(on))
        with self._lock:
            self._scripted.append(Scripted(name, fault, options, self._random(name), **where))

    def add_bend(self, bend: Bend | RandomBends) -> None:
        """See `ClaudeEmulator.bend`."""
        with self._lock:
            random = self._random("bend")
            name, fault, options = bend.spoiling(random)
            where = {each: getattr(bend, each) for each in ("at", "times", "share", "batch", "key")}
            self._scripted.append(Scripted(name, fault, options, random, bend=bend, **where))

    def remove_bend(self, bend: Bend | RandomBends) -> None:
        """Remove each occurrence of the bend; raise LookupError if there is none."""
        with self._lock:
            left = [each for each in self._scripted if each.bend != bend]
            if len(left) == len(self._scripted):
                raise LookupError(f"no such bend was scripted: {bend}")
            self._scripted[:] = left

    def _random(self, name: str) -> Random:
        return Random(f"{self._seed}:{name}:{len(self._scripted)}")  # noqa: S311

    def clear(self) -> None:
        with self._lock:
            self._scripted.clear()

    def respond(self, request: Request, routes: Routes) -> Response:
        """Return the response of `routes` to `request`, changed by the faults that apply to it."""
        try:
            verb, batch_id = asked(request)
        except errors.Refusal:
            return routes.respond(request)
        key = key_in(request.headers)
        with self._lock:
            met = [each for each in self._scripted if each.meets(verb, batch_id, key)]
        if not met:
            return routes.respond(request)
        request_id = routes.world.identifiers.request()
        about = {"request_id": request_id, "now": routes.world.clock.now(), "identity": routes.identity(request)}
        respond: Callable[[Request], Response] = routes.respond
        for each in met:
            respond = _spoiled(each, respond, verb=verb, batch_id=batch_id, **about)
        try:
            response = respond(request)
        except Exception as error:  # noqa: BLE001 (as in `Routes.respond`: the caller waits for a response)
            response = refused(errors.emulator_failed(error), {"request-id": request_id})
        return replace(response, faults=[each.name for each in met if each.name != DRAWN] + response.faults)


def _spoiled(scripted: Scripted, respond: Callable[[Request], Response], **about: Any) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        turn = Turn(request=request, respond=respond, random=scripted.random, **about)
        return scripted.fault.spoil(turn, **scripted.options)

    return answer


def known(name: str, options: dict[str, Any]) -> Fault:
    """Return the fault, or raise a ValueError that lists the faults."""
    if name not in KNOWN:
        raise ValueError(f"unknown fault {name!r}.{meant(name, KNOWN)} There are: {', '.join(sorted(KNOWN))}")
    fault = KNOWN[name]
    for option in options:
        if option not in fault.options:
            raise ValueError(f"{name} has no option {option!r}. It has: {', '.join(fault.options) or 'none'}")
    return fault
