"""Decide which requests meet which fault or bend."""

from __future__ import annotations

import difflib
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from random import Random
from typing import Any

from django_claude_batches.testing.emulator import errors
from django_claude_batches.testing.emulator.auth import key_in
from django_claude_batches.testing.emulator.http_messages import VERBS, Request, Response, asked, refused

from . import connection, listings, objects, refusals, results, values
from .bends import Bend
from .context import Fault, Turn
from .random_bends import DRAWN, RandomBends

KNOWN: dict[str, Fault] = (
    connection.FAULTS | refusals.FAULTS | objects.FAULTS | listings.FAULTS | results.FAULTS | values.FAULTS
)


@dataclass
class Scripted:
    """A fault and what it affects: of the requests it concerns, from `first` to `last`, and a `share` of these."""

    name: str
    fault: Fault
    verbs: tuple[str, ...]
    first: int
    last: int | None
    share: float
    batch_id: str | None
    key: str | None
    options: dict[str, Any]
    random: Random
    bend: Bend | RandomBends | None = None
    seen: int = 0

    def meets(self, verb: str, batch_id: str, key: str) -> bool:
        """Count a request, if this concerns it, and return whether it is affected."""
        if verb not in self.verbs or self.batch_id not in (None, batch_id) or self.key not in (None, key):
            return False
        self.seen += 1
        if self.seen < self.first or (self.last is not None and self.seen > self.last):
            return False
        return self.share >= 1 or self.random.random() < self.share


class Faults:
    """The scripted faults. If several meet one request, a later one changes what earlier ones made of it."""

    def __init__(self, *, seed: str) -> None:
        self._seed = seed
        self._scripted: list[Scripted] = []
        self._lock = threading.Lock()

    def add(
        self,
        name: str,
        *,
        at: int = 1,
        times: int | None = 1,
        share: float = 1.0,
        on: str | Iterable[str] | None = None,
        batch: str | None = None,
        key: str | None = None,
        **options: Any,
    ) -> None:
        """See `ClaudeEmulator.fault`."""
        fault = known(name, options)
        fault = fault if on is None else fault._replace(verbs=verbs_of(on))
        with self._lock:
            random = self._random(name)
            self._script(name, fault, options, random, at=at, times=times, share=share, batch_id=batch, key=key)

    def add_bend(self, bend: Bend | RandomBends) -> None:
        """See `ClaudeEmulator.bend`."""
        placed: dict[str, Any] = {"at": bend.at, "times": bend.times, "share": bend.share}
        with self._lock:
            random = self._random("bend")
            name, fault, options = bend.spoiling(random)
            self._script(name, fault, options, random, batch_id=bend.batch, key=bend.key, bend=bend, **placed)

    def remove_bend(self, bend: Bend | RandomBends) -> None:
        """Remove each occurrence of the bend; raise LookupError if there is none."""
        with self._lock:
            left = [each for each in self._scripted if each.bend != bend]
            if len(left) == len(self._scripted):
                raise LookupError(f"there is no such bend here: {bend}")
            self._scripted[:] = left

    def _random(self, name: str) -> Random:
        return Random(f"{self._seed}:{name}:{len(self._scripted)}")  # noqa: S311

    def _script(
        self,
        name: str,
        fault: Fault,
        options: dict[str, Any],
        random: Random,
        *,
        at: int,
        times: int | None,
        share: float,
        **concerned: Any,
    ) -> None:
        if at < 1 or (times is not None and times < 1) or not 0 <= share <= 1:
            raise ValueError(f"at is {at}, times {times}, share {share}: requests count from 1, shares from 0 to 1")
        self._scripted.append(
            Scripted(
                name=name,
                fault=fault,
                verbs=fault.verbs,
                first=at,
                last=None if times is None else at + times - 1,
                share=share,
                options=options,
                random=random,
                **concerned,
            )
        )

    def clear(self) -> None:
        with self._lock:
            self._scripted.clear()

    def respond(
        self,
        request: Request,
        respond: Callable[[Request], Response],
        *,
        draw_request_id: Callable[[], str],
        now: Callable[[], datetime],
        identify: Callable[[Request], dict[str, str]],
    ) -> Response:
        """Return the response to `request`, changed by the faults that it meets."""
        try:
            verb, batch_id = asked(request)
        except errors.Refusal:
            return respond(request)
        key = key_in(request.headers)
        with self._lock:
            met = [each for each in self._scripted if each.meets(verb, batch_id, key)]
        if not met:
            return respond(request)
        request_id = draw_request_id()
        about = {"request_id": request_id, "now": now(), "identity": identify(request)}
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
        raise ValueError(f"unknown fault {name!r}.{_meant(name)} There are: {', '.join(sorted(KNOWN))}")
    fault = KNOWN[name]
    for option in options:
        if option not in fault.options:
            raise ValueError(f"{name} has no option {option!r}. It has: {', '.join(fault.options) or 'none'}")
    return fault


def _meant(name: str) -> str:
    close = difflib.get_close_matches(name, KNOWN, n=1)
    return f" Did you mean {close[0]}?" if close else ""


def verbs_of(on: str | Iterable[str]) -> tuple[str, ...]:
    verbs = (on,) if isinstance(on, str) else tuple(on)
    for verb in verbs:
        if verb not in VERBS:
            raise ValueError(f"unknown verb {verb!r}. There are: {', '.join(VERBS)}")
    return verbs
