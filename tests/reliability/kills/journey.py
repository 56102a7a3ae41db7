"""A journey: an order that a process executes, and the points at which it can be killed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from tests.reliability.kills.crash_points import AFTER, BEFORE, FIRST_BYTES, HEAD_SENT, SENT
from tests.reliability.kills.crew import Crew, Order

# The end of the name of a create call's point.
CREATE = ": POST /batches"


@dataclass(frozen=True)
class Point:
    """A point: its place in an effect, the occurrence of the effect's name, and the effects before it."""

    name: str
    occurrence: int
    past: str = ""


@dataclass(frozen=True)
class Journey:
    """An order. `prepare` brings batches to its beginning; `set_up` changes one of them just before it.

    `repeats`: the order is given again if the process was killed.
    """

    prepare: Callable[[Crew, int], list[Order]]
    effects: tuple[str, ...]
    set_up: Callable[[Crew, Order], object] = lambda crew, order: None
    repeats: bool = False

    @property
    def points(self) -> Iterator[Point]:
        seen: Counter[str] = Counter()
        for past, effect in pairwise(("", *self.effects)):
            seen[effect] += 1
            for where in places_in(effect):
                yield Point(f"{where} {effect}", seen[effect], past)


def new_points(before: Iterable[Journey], journey: Journey) -> list[Point]:
    """Return the points that no earlier journey has, with the same effects before and the same effect in progress."""
    known = {(point.name, point.past) for other in before for point in other.points}
    return [point for point in journey.points if (point.name, point.past) not in known]


def fault_of(point: Point) -> str:
    """Return the name of the fault at a point, for the table of trials."""
    effect = point.name.rpartition(": ")[2]
    if effect == "COMMIT":
        return "A process is killed before or after a commit"
    if "/batches" in effect:
        return "A process is killed before, during or after a call to Anthropic"
    if effect.startswith("receiver"):
        return "A process is killed before or after a signal's receivers"
    return "A process is killed before or after a statement that commits itself"


def places_in(effect: str) -> tuple[str, ...]:
    if effect.endswith(CREATE):
        return BEFORE, HEAD_SENT, SENT, AFTER
    if effect.endswith("/results"):
        return BEFORE, SENT, AFTER, FIRST_BYTES
    if "/batches" in effect:
        return BEFORE, SENT, AFTER
    return BEFORE, AFTER
