"""The declaration of a bend: which answers are bent, where, and to what. Bends are scripted as faults are."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, Literal, NamedTuple, get_args

from django_claude_batches.testing.emulator.http_messages import VERBS, Response

from . import answers, listings, oversized
from .context import Fault
from .fields import check_field, path_of, verbs_with
from .mutations import HOWS, NOTHING, as_header, bent_header_value

Endpoint = Literal["create", "retrieve", "list", "cancel", "delete", "results"]
How = Literal["replace", "drop", "retype", "huge", "null", "nul", "surrogate", "out_of_range"]
Listing = Literal["delayed", "empty", "short", "reordered"]
Body = Literal["slow", "cut", "inflated", "bomb", "markup", "flood", "dripped", "endless_continue", "endless_trailers"]

KINDS = ("field", "header", "status", "reason", "listing", "body")
IS_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")


class Spoiling(NamedTuple):
    """What is scripted for a bend: the fault, its options, and its name in the ledger."""

    label: str
    fault: Fault
    options: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Bend:
    """One way in which answers differ from the API's. Raise ValueError, with what is allowed, for an invalid one.

    `endpoint` is a verb or several; by default each whose answers can be bent so. One of these selects what is bent:

    - `field`: its path, as "request_counts.processing". In a listing and in results it is that of each entry or line,
      or only of the `entry`-th, counted from 1. `to` is its new value (JSON), or `how` says what becomes of it.
    - `header`: its name; likewise `to` or `how`.
    - `status`: the new one, 200 to 599. What was asked happens all the same.
    - `reason`: the phrase beside the status.
    - `listing`: "delayed" (entries younger than `seconds` of the emulator's clock are missing), "empty", "short" (half
      of the entries are missing, others each time), "reordered".
    - `body`: "slow" (it takes `seconds`), "cut" (half of it comes), "inflated" (by `size` bytes); "bomb" (a gzip that
      was not requested and unpacks to `size` bytes more), "markup" (`size` times "<", and nothing else), "flood"
      (after the lines of results, `size` bytes of lines that answer nothing); "dripped" (the answer comes byte by byte
      from its status line on, `seconds` between), "endless_continue" (`100 Continue` again and again and no answer,
      `seconds` between), "endless_trailers" (trailers without end after the body, likewise).

    `how` is "replace" (another value of its type), "drop", "retype", "huge", "null", "nul", "surrogate" (half of a
    character) or "out_of_range".

    It applies to the calls with the API key `key`, and to those about the batch `batch`, if these are given: from the
    `at`-th of them on, for `times` of them (None: until it is removed), and for a `share` of those (0 to 1), drawn by
    the emulator's seed.
    """

    endpoint: Endpoint | tuple[Endpoint, ...] = ()
    field: str | None = None
    header: str | None = None
    status: int | None = None
    reason: str | None = None
    listing: Listing | None = None
    body: Body | None = None
    to: Any = NOTHING
    how: How | None = None
    entry: int | None = None
    seconds: float = 1.0
    size: int = 1_000_000
    key: str | None = None
    batch: str | None = None
    at: int = 1
    times: int | None = None
    share: float = 1.0

    def __post_init__(self) -> None:
        check_endpoints(self.endpoints)
        kinds = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(kinds) != 1:
            raise ValueError(f"a bend names one of {', '.join(KINDS)}; this one names {' and '.join(kinds) or 'none'}")
        CHECKS[kinds[0]](self)
        if kinds[0] in ("field", "header"):
            _check_change(self)
        elif self.to is not NOTHING or self.how is not None:
            raise ValueError(f"to and how are for a field or a header; this bend names a {kinds[0]}")

    @property
    def endpoints(self) -> tuple[str, ...]:
        return (self.endpoint,) if isinstance(self.endpoint, str) else tuple(self.endpoint)

    @property
    def kind(self) -> str:
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def what(self) -> str:
        """Return what is bent, as `field=id`."""
        return f"{self.kind}={getattr(self, self.kind)}"

    def spoiling(self, random: Random) -> Spoiling:
        """Return what is scripted. `random` draws what is not specified."""
        spoil, verbs, options = SPOILING[self.kind](self, random)
        verbs = self.endpoints or verbs
        return Spoiling(self._label(verbs), Fault(spoil, verbs), options)

    def _label(self, verbs: tuple[str, ...]) -> str:
        change = "" if self.to is NOTHING else f",to={json.dumps(self.to):.40}"
        change = change if self.how is None else f",how={self.how}"
        return f"{'+'.join(verbs)}:{self.what}{change}"


def check_endpoints(verbs: tuple[str, ...]) -> None:
    for verb in verbs:
        if verb not in VERBS:
            raise ValueError(f"unknown endpoint {verb!r}. There are: {', '.join(VERBS)}")


def _check_field(bend: Bend) -> None:
    check_field(str(bend.field), bend.endpoints or verbs_with(str(bend.field)))
    if bend.entry is not None and bend.entry < 1:
        raise ValueError(f"entry is {bend.entry}: entries and lines count from 1")


def _check_header(bend: Bend) -> None:
    if not IS_HEADER.fullmatch(str(bend.header).lower()):
        raise ValueError(f"{bend.header!r} is no name of a header: letters, digits and hyphens, as retry-after")
    if bend.to is not NOTHING:
        as_header(bend.to)


def _check_status(bend: Bend) -> None:
    if not isinstance(bend.status, int) or not 200 <= bend.status <= 599:
        raise ValueError(f"status is {bend.status!r}: it is a number from 200 to 599")


def _check_reason(bend: Bend) -> None:
    if not isinstance(bend.reason, str):
        raise ValueError(f"reason is {bend.reason!r}: it is a text")
    as_header(bend.reason)


def _check_listing(bend: Bend) -> None:
    _check_choice("listing", bend.listing, get_args(Listing))
    if set(bend.endpoints) - {"list"}:
        raise ValueError(f"a listing is the answer to list, not to {', '.join(bend.endpoints)}")


def _check_body(bend: Bend) -> None:
    _check_choice("body", bend.body, get_args(Body))
    if bend.body == "flood" and set(bend.endpoints) - {"results"}:
        raise ValueError(f"a flood is of lines of results, not of {', '.join(bend.endpoints)}")


def _check_change(bend: Bend) -> None:
    if (bend.to is NOTHING) == (bend.how is None):
        raise ValueError(f"a {bend.kind} is bent either to=VALUE or by how, which is one of {', '.join(HOWS)}")
    if bend.how is not None:
        _check_choice("how", bend.how, tuple(HOWS))


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}, and can be {', '.join(choices)}")


CHECKS: dict[str, Callable[[Bend], None]] = {
    "field": _check_field,
    "header": _check_header,
    "status": _check_status,
    "reason": _check_reason,
    "listing": _check_listing,
    "body": _check_body,
}

# What bends an answer, the verbs that it applies to unless the bend names some, and its options.
Concerned = tuple[Callable[..., Response], tuple[str, ...], dict[str, Any]]


def _field(bend: Bend, random: Random) -> Concerned:
    path = path_of(str(bend.field))
    how, name = bend.how, str(path[-1])
    change = (lambda value: HOWS[how](value, name, random)) if how else partial(_to, bend.to)
    return answers.bent_field, verbs_with(str(bend.field)), {"path": path, "change": change, "entry": bend.entry}


def _to(value: Any, _before: Any) -> Any:
    return json.loads(json.dumps(value))  # a copy, which a later bend may change


def _header(bend: Bend, random: Random) -> Concerned:
    name = str(bend.header).lower()
    how = bend.how
    change = (lambda value: bent_header_value(value, name, how, random)) if how else lambda _value: as_header(bend.to)
    return answers.bent_header, VERBS, {"header": name, "change": change}


def _status(bend: Bend, random: Random) -> Concerned:
    return answers.bent_status, VERBS, {"status": bend.status}


def _reason(bend: Bend, random: Random) -> Concerned:
    return oversized.another_reason, VERBS, {"reason": as_header(bend.reason)}


def _listing(bend: Bend, random: Random) -> Concerned:
    options = {"seconds": bend.seconds} if bend.listing == "delayed" else {}
    return listings.FAULTS[f"{bend.listing}_listing"].spoil, ("list",), options


def _body(bend: Bend, random: Random) -> Concerned:
    match bend.body:
        case "slow":
            return answers.slowed, VERBS, {"seconds": bend.seconds}
        case "inflated":
            return answers.inflated, VERBS, {"size": bend.size}
        case "bomb":
            return oversized.bomb, VERBS, {"size": bend.size}
        case "markup":
            return oversized.markup, VERBS, {"size": bend.size}
        case "flood":
            return oversized.flood, ("results",), {"size": bend.size}
        case "dripped":
            return answers.dripped, VERBS, {"seconds": bend.seconds}
        case "endless_continue" | "endless_trailers":
            return answers.endless, VERBS, {"what": bend.body.removeprefix("endless_"), "seconds": bend.seconds}
        case _:
            return answers.cut, VERBS, {}


SPOILING: dict[str, Callable[[Bend, Random], Concerned]] = {
    "field": _field,
    "header": _header,
    "status": _status,
    "reason": _reason,
    "listing": _listing,
    "body": _body,
}
