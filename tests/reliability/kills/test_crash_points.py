"""A process is killed before and after each of its effects: nothing is paid twice, lost or stuck."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from tests.reliability.kills.crash_points import AFTER, SENT
from tests.reliability.kills.crew import KILLED, Crew, Order, check_receivers
from tests.reliability.kills.journey import CREATE, Journey, Point, fault_of, new_points
from tests.reliability.kills.journeys import JOURNEYS
from tests.reliability.site import Site

pytestmark = [pytest.mark.process, pytest.mark.timeout(600)]

JOURNEYS_SO_FAR = [list(JOURNEYS.values())[:index] for index in range(len(JOURNEYS))]
POINTS = {
    name: new_points(before, journey) for (name, journey), before in zip(JOURNEYS.items(), JOURNEYS_SO_FAR, strict=True)
}

# Batches that others made a moment ago: more than one page of a baseline.
MANY = 25

IN_ALL = Counter(fault_of(point) for points in POINTS.values() for point in points)


@pytest.mark.fault
def test_a_process_killed_at_each_point(
    site: Site, database: str, trial: int, tried: Callable[[str, str], None]
) -> None:
    with Crew(site).open() as crew:
        for _ in range(MANY):
            site.claude.add_stranger(1)
        for name, journey in JOURNEYS.items():
            orders = journey.prepare(crew, 1 + len(POINTS[name]))
            goes_as_written(crew, journey, orders[0])
            for order, point in zip(orders[1:], POINTS[name], strict=True):
                is_killed(crew, journey, order, point)
                tried(fault_of(point), f"SIGKILL at each of {IN_ALL[fault_of(point)]} points")
            for order in orders if journey.repeats else []:
                crew.do(**order)
            crew.retry_now()
        site.check()
        check_receivers(site)


def goes_as_written(crew: Crew, journey: Journey, order: Order) -> None:
    """Check the effects against journeys.py, which must list each commit, call and receiver."""
    begin(crew, journey, order)
    crew.points.arm()
    crew.do(**order)
    assert Counter(crew.points.reached) == Counter(point.name for point in journey.points), crew.points.reached


def is_killed(crew: Crew, journey: Journey, order: Order, point: Point) -> None:
    begin(crew, journey, order)
    crew.points.arm(point.name, point.occurrence)
    status = crew.status_of(**order)
    assert status == KILLED, f"{point} was not reached: {status}\n{crew.points.reached}\n{crew.site.said()}"
    if point.name.endswith(CREATE):
        # Before the head was sent there is no batch; after the whole body was sent there is one, even without an
        # answer.
        is_made = point.name.startswith((SENT, AFTER))
        crew.site.until(lambda: bool(crew.made_for(order["pk"])) == is_made)


def begin(crew: Crew, journey: Journey, order: Order) -> None:
    crew.points.disarm()
    crew.claude.clear_faults()
    crew.let_its_time_come(order)
    journey.set_up(crew, order)
