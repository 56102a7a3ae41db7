"""Something that processes do at a stretch, and the points at which they may die on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from tests.reliability.kills.crash_points import AFTER, BEFORE, FIRST_BYTES, HEAD_SENT, SENT
from tests.reliability.kills.crew import Crew, Order

# How the name of a create call ends.
CREATE = ": POST /batches"


@dataclass(frozen=True)
class Point:
    """Where in an effect, in which of those with this name, and what was left behind just before."""

    name: str
    occurrence: int
    past: str = ""


@dataclass(frozen=True)
class Journey:
    """An order. `prepare` leads that many batches to where it begins; `set_up` one of them, just before.

    `repeats`: somebody who got no answer orders it again.
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
    """Give the points that no journey before it has: where the same was left behind, and the same is under way."""
    known = {(point.name, point.past) for other in before for point in other.points}
    return [point for point in journey.points if (point.name, point.past) not in known]


def fault_of(point: Point) -> str:
    """Name what is done at a point, as the table of the trials does."""
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
