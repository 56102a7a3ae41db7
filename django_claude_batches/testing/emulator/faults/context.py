"""One request that a fault has its hands on."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any, NamedTuple

from django_claude_batches.testing.emulator.http_messages import Request, Response


@dataclass(frozen=True)
class Turn:
    """The request, what answers it (and so makes it happen), and what an answer made by the fault needs.

    `identity` are the headers that name the key's organization and Workspace.
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
        """Let happen what was asked, and return the answer."""
        return self.respond(self.request)


class Fault(NamedTuple):
    """A fault: what it does, and the verbs that it concerns unless told otherwise."""

    spoil: Callable[..., Response]
    verbs: tuple[str, ...]

    @property
    def options(self) -> dict[str, Any]:
        """The options and their defaults."""
        parameters = inspect.signature(self.spoil).parameters.values()
        return {each.name: each.default for each in parameters if each.kind is each.KEYWORD_ONLY}
