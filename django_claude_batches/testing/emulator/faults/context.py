"""The types of faults: `Fault`, and `Turn`, one request to which a fault applies."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any, NamedTuple

from django_claude_batches.testing.emulator.http_messages import VERBS, Request, Response


@dataclass(frozen=True)
class Turn:
    """One request to which a fault applies, with everything that the fault needs to answer it.

    `respond` executes the request and returns the answer. `identity` are the headers that name the key's organization
    and Workspace.
    """

    request: Request
    respond: Callable[[Request], Response]
    verb: str
    request_id: str
    batch_id: str
    random: Random
    now: datetime
    identity: dict[str, str]

    def answer(self) -> Response:
        """Execute the request, and return the answer."""
        return self.respond(self.request)


class Fault(NamedTuple):
    """A fault: its function, and the verbs that it applies to by default."""

    spoil: Callable[..., Response]
    verbs: tuple[str, ...]

    @property
    def options(self) -> dict[str, Any]:
        """Return the options and their defaults."""
        parameters = inspect.signature(self.spoil).parameters.values()
        return {each.name: each.default for each in parameters if each.kind is each.KEYWORD_ONLY}


def faults(verbs: tuple[str, ...], *functions: Callable[..., Response]) -> dict[str, Fault]:
    """Return faults of these functions by their names, each for these verbs."""
    return {function.__name__: Fault(function, verbs) for function in functions}


def verbs_of(names: str | Iterable[str], *, called: str = "verb") -> tuple[str, ...]:
    """Return one verb or several as a tuple, or raise a ValueError that lists the verbs."""
    verbs = (names,) if isinstance(names, str) else tuple(names)
    for verb in verbs:
        if verb not in VERBS:
            raise ValueError(f"unknown {called} {verb!r}. There are: {', '.join(VERBS)}")
    return verbs


def meant(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean …?" with the most similar of the known names, or "" if none is similar."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {close[0]}?" if close else ""
