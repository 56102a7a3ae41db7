"""Declare a bend: a fault that changes one place of the answers to some calls."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from random import Random
from typing import Any, Literal, NamedTuple, get_args

from django_claude_batches.testing.emulator.http_messages import VERBS

from . import answers, listings, oversized
from .context import Fault, faults, verbs_of
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
    """One change to answers. Raises ValueError, which lists the allowed values, for an invalid one.

    `endpoint` is a verb or several; by default all verbs whose answers can be changed this way. Exactly one of these
    selects what is changed:

    - `field`: its path, such as "request_counts.processing". In a listing and in results this is the path in each entry
      or line, or only in the `entry`-th, counted from 1. `to` is the new value (JSON), or `how` the kind of change.
    - `header`: its name, with `to` or `how` as well.
    - `status`: the new status, 200 to 599. The request is executed all the same.
    - `reason`: the phrase after the status.
    - `listing`: "delayed" (entries younger than `seconds` of the emulator's clock are missing), "empty", "short" (half
      of the entries are missing, drawn anew each time), "reordered".
    - `body`: "slow" (it takes `seconds`), "cut" (only half of it is sent), "inflated" (by `size` bytes); "bomb" (a gzip
      that was not requested and unpacks to `size` more bytes), "markup" (`size` times "<", and nothing else), "flood"
      (after the lines of results, `size` bytes of lines that answer no request); "dripped" (the answer is sent byte by
      byte from its status line on, `seconds` between), "endless_continue" (`100 Continue` forever and no answer,
      `seconds` between), "endless_trailers" (trailers forever after the body, `seconds` between).

    `how` is "replace" (another value of the same type), "drop", "retype", "huge", "null", "nul" (a NUL character),
    "surrogate" (a lone surrogate) or "out_of_range".

    The bend applies to calls with the API key `key`, and to those about the batch `batch`, if these are given:
    from the `at`-th of these calls on, for `times` of them (None: until the bend is removed), and to a `share` of them
    (0 to 1), drawn by the emulator's seed.
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
        verbs_of(self.endpoint, called="endpoint")  # raises for an unknown one
        kinds = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(kinds) != 1:
            raise ValueError(f"give one of {', '.join(KINDS)}; this bend has {' and '.join(kinds) or 'none'}")
        _check(self)
        if kinds[0] in ("field", "header"):
            _check_change(self)
        elif self.to is not NOTHING or self.how is not None:
            raise ValueError(f"to and how are for a field or a header; this bend changes a {kinds[0]}")

    @property
    def endpoints(self) -> tuple[str, ...]:
        return verbs_of(self.endpoint)

    @property
    def kind(self) -> str:
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def what(self) -> str:
        """Return what is changed, such as `field=id`."""
        return f"{self.kind}={getattr(self, self.kind)}"

    def spoiling(self, random: Random) -> Spoiling:
        """Return what is scripted. `random` draws what is not specified."""
        fault, options = _fault(self, random)
        verbs = self.endpoints or fault.verbs
        return Spoiling(self._label(verbs), fault._replace(verbs=verbs), options)

    def _label(self, verbs: tuple[str, ...]) -> str:
        change = "" if self.to is NOTHING else f",to={json.dumps(self.to):.40}"
        change = change if self.how is None else f",how={self.how}"
        return f"{'+'.join(verbs)}:{self.what}{change}"


def _check(bend: Bend) -> None:
    """Check the argument that selects what is changed."""
    match bend.kind:
        case "field":
            check_field(str(bend.field), bend.endpoints or verbs_with(str(bend.field)))
            if bend.entry is not None and bend.entry < 1:
                raise ValueError(f"entry is {bend.entry}: entries and lines are counted from 1")
        case "header":
            if not IS_HEADER.fullmatch(str(bend.header).lower()):
                raise ValueError(f"{bend.header!r} is not the name of a header, such as retry-after")
            if bend.to is not NOTHING:
                as_header(bend.to)
        case "status":
            if not isinstance(bend.status, int) or not 200 <= bend.status <= 599:
                raise ValueError(f"status is {bend.status!r}: it must be a number from 200 to 599")
        case "reason":
            if not isinstance(bend.reason, str):
                raise ValueError(f"reason is {bend.reason!r}: it must be a text")
            as_header(bend.reason)
        case "listing":
            _check_choice("listing", bend.listing, get_args(Listing))
            if set(bend.endpoints) - {"list"}:
                raise ValueError(f"listing is only for the endpoint list, not for {', '.join(bend.endpoints)}")
        case _:
            _check_choice("body", bend.body, get_args(Body))
            if bend.body == "flood" and set(bend.endpoints) - {"results"}:
                raise ValueError(f"flood is only for the endpoint results, not for {', '.join(bend.endpoints)}")


def _check_change(bend: Bend) -> None:
    if (bend.to is NOTHING) == (bend.how is None):
        raise ValueError(f"a {bend.kind} needs either to or how, which is one of {', '.join(HOWS)}")
    if bend.how is not None:
        _check_choice("how", bend.how, tuple(HOWS))


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}: it must be one of {', '.join(choices)}")


# The faults of a whole body, by the values of `Body`. Their options are arguments of the bend.
BODIES = {
    **faults(VERBS, answers.slow, answers.cut, answers.inflated, answers.dripped),
    **faults(VERBS, answers.endless_continue, answers.endless_trailers, oversized.bomb, oversized.markup),
    **faults(("results",), oversized.flood),
}


def _fault(bend: Bend, random: Random) -> tuple[Fault, dict[str, Any]]:
    """Return the fault of a bend, with the verbs that it can apply to, and its options."""
    to, how = bend.to, bend.how
    match bend.kind:
        case "field":
            path = path_of(str(bend.field))
            name = str(path[-1])
            # A copy, which a later bend may change.
            change = (lambda value: HOWS[how](value, name, random)) if how else lambda _: json.loads(json.dumps(to))
            fault = Fault(answers.bent_field, verbs_with(str(bend.field)))
            return fault, {"path": path, "change": change, "entry": bend.entry}
        case "header":
            name = str(bend.header).lower()
            change = (lambda value: bent_header_value(value, name, how, random)) if how else lambda _: as_header(to)
            return Fault(answers.bent_header, VERBS), {"header": name, "change": change}
        case "status":
            return Fault(answers.bent_status, VERBS), {"status": bend.status}
        case "reason":
            return Fault(oversized.another_reason, VERBS), {"reason": as_header(bend.reason)}
        case "listing":
            options = {"seconds": bend.seconds} if bend.listing == "delayed" else {}
            return listings.FAULTS[f"{bend.listing}_listing"], options
        case _:
            fault = BODIES[str(bend.body)]
            return fault, {name: getattr(bend, name) for name in fault.options}
