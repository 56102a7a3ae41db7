"""Which requests meet which fault, said from a test or, as a text, on the command line."""

from __future__ import annotations

import difflib
import json
import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from django_claude_batches.testing.emulator import errors
from django_claude_batches.testing.emulator.exchange import VERBS, Request, Response, asked, refused

from . import connection, objects, refusals, results, values
from .turn import Fault, Turn

KNOWN: dict[str, Fault] = connection.FAULTS | refusals.FAULTS | objects.FAULTS | results.FAULTS | values.FAULTS

SCRIPT = re.compile(
    r"(?P<name>\w+)(@((?P<first>\d+)(-(?P<last>\d+))?|(?P<always>\*)|(?P<percent>[\d.]+)%))?(:(?P<options>.*))?",
    re.DOTALL,
)


@dataclass
class Scripted:
    """A fault and what it spoils: of the requests that it concerns, from `first` to `last`, and of these a `share`."""

    name: str
    fault: Fault
    verbs: tuple[str, ...]
    first: int
    last: int | None
    share: float
    batch_id: str | None
    options: dict[str, Any]
    random: Random
    seen: int = 0

    def meets(self, verb: str, batch_id: str) -> bool:
        """Count a request, if it is one that this concerns, and say whether it is to be spoiled."""
        if verb not in self.verbs or self.batch_id not in (None, batch_id):
            return False
        self.seen += 1
        if self.seen < self.first or (self.last is not None and self.seen > self.last):
            return False
        return self.share >= 1 or self.random.random() < self.share


class Faults:
    """The faults that are scripted. Where several meet one request, a later one spoils what earlier ones made of it."""

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
        **options: Any,
    ) -> None:
        """See `ClaudeEmulator.fault`."""
        fault = _known(name, options)
        if at < 1 or (times is not None and times < 1) or not 0 <= share <= 1:
            raise ValueError(f"at is {at}, times {times}, share {share}: requests count from 1, shares from 0 to 1")
        with self._lock:
            self._scripted.append(
                Scripted(
                    name=name,
                    fault=fault,
                    verbs=fault.verbs if on is None else _verbs(on),
                    first=at,
                    last=None if times is None else at + times - 1,
                    share=share,
                    batch_id=batch,
                    options=options,
                    random=Random(f"{self._seed}:{name}:{len(self._scripted)}"),  # noqa: S311
                )
            )

    def clear(self) -> None:
        with self._lock:
            self._scripted.clear()

    def respond(
        self, request: Request, respond: Callable[[Request], Response], *, draw_request_id: Callable[[], str]
    ) -> Response:
        """Return the response to `request`, spoiled by the faults that it meets."""
        try:
            verb, batch_id = asked(request)
        except errors.Refusal:
            return respond(request)
        with self._lock:
            met = [each for each in self._scripted if each.meets(verb, batch_id)]
        if not met:
            return respond(request)
        request_id = draw_request_id()
        for each in met:
            respond = _spoiled(each, respond, request_id=request_id, batch_id=batch_id)
        try:
            response = respond(request)
        except Exception as error:  # noqa: BLE001  as in `Routes.respond`: the caller waits for a response
            response = refused(errors.emulator_failed(error), {"request-id": request_id})
        return replace(response, faults=[each.name for each in met])


def _spoiled(
    scripted: Scripted, respond: Callable[[Request], Response], *, request_id: str, batch_id: str
) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        turn = Turn(request, respond, request_id, batch_id, scripted.random)
        return scripted.fault.spoil(turn, **scripted.options)

    return answer


def _known(name: str, options: dict[str, Any]) -> Fault:
    """Return the fault, or raise a ValueError that says what there is."""
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


def _verbs(on: str | Iterable[str]) -> tuple[str, ...]:
    verbs = (on,) if isinstance(on, str) else tuple(on)
    for verb in verbs:
        if verb not in VERBS:
            raise ValueError(f"unknown verb {verb!r}. There are: {', '.join(VERBS)}")
    return verbs


def parse(text: str) -> dict[str, Any]:
    """Return what `NAME@WHEN:key=value,key=value` says, as arguments for `Faults.add`, or raise ValueError.

    WHEN is the N-th request that the fault concerns, `N-M`, `*` for each, or `P%` for a share; left out, the first.
    Values are JSON, or else texts. `on=` takes one verb or several, joined by `+`; `batch=` an id.
    """
    matched = SCRIPT.fullmatch(text)
    if matched is None:
        raise ValueError(f"{text!r} is no fault: write NAME, NAME@N, NAME@N-M, NAME@* or NAME@P%, then :key=value,…")
    name, options = matched["name"], _options(matched["options"])
    placed = {key: options.pop(key) for key in ("on", "batch") if key in options}
    if "on" in placed:
        placed["on"] = _verbs(placed["on"].split("+"))
    _known(name, options)
    return {"name": name} | _when(matched) | placed | options


def _when(matched: re.Match[str]) -> dict[str, Any]:
    if matched["always"]:
        return {"times": None}
    if matched["percent"]:
        return {"times": None, "share": float(matched["percent"]) / 100}
    first = int(matched["first"] or 1)
    return {"at": first, "times": int(matched["last"] or first) - first + 1}


def _options(text: str | None) -> dict[str, Any]:
    pairs = (pair.partition("=") for pair in text.split(",")) if text else ()
    return {key: _value(value) for key, _, value in pairs}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
