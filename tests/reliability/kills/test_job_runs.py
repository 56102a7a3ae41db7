"""A run's process is killed at each of its commits: each row still has one effect.

The points are recorded from an undisturbed run, so that new commits are included automatically. What
happens to a batch on its way has them in test_crash_points.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from django_claude_batches.models import FailedDelivery, JobRun, MessageBatch, RunState
from django_claude_batches.services import runs
from tests.harness.databases import ALL
from tests.harness.library.models import Book, Review
from tests.reliability.kills.crew import KILLED, Crew
from tests.reliability.project.claude_jobs import JOB
from tests.reliability.site import Site

pytestmark = [pytest.mark.process, pytest.mark.timeout(600)]

ROWS, PIECE = 5, 2
ROUNDS = 12

# The modules whose commits belong to a run. A module of the same name advances batches.
MODULES = {path.stem for path in Path(runs.__file__).parent.glob("*.py")} - {"advancing"}

# The commit with which the deliveries of a batch are there.
CUT = "ingest._finish: COMMIT"

# One trial takes each third point on each database, each another one: a second or two for each.
SHARE = 3


def expire(crew: Crew) -> None:
    """Expire the batches at Anthropic, so that their rows are asked again."""
    for batch in MessageBatch.objects.running():
        crew.claude.expire(str(batch.anthropic_id))


def finish(crew: Crew) -> None:
    crew.claude.finish()


STAGES: tuple[tuple[str, Callable[[Crew], None]], ...] = (
    ("drafted and sent", lambda crew: None),
    ("expired, and asked again", expire),
    ("answered, and over", finish),
)


@pytest.mark.fault
def test_a_run_killed_at_each_commit(site: Site, database: str, trial: int, tried: Callable[[str, str], None]) -> None:
    site.environment["CHUNKS"] = str(PIECE)
    with Crew(site).open() as crew:
        found = [(stage, *point) for stage, points in enumerate(recorded(crew)) for point in points]
        assert {stage for stage, *_point in found} == set(range(len(STAGES))), "a stage has no points"
        for stage, point, occurrence in found[(trial + ALL.index(database)) % SHARE :: SHARE]:
            is_killed(crew, stage, point, occurrence)
            tried(
                "The process of a job's run is killed before or after a commit",
                f"SIGKILL at {len(found)} points, from its first row to its end; rows expire and are asked again",
            )
        site.check()
    assert not FailedDelivery.objects.exists()


def recorded(crew: Crew) -> Iterator[list[tuple[str, int]]]:
    """Let a run go through; give each stage's points, each with the occurrence: the first, and of commits the last."""
    run = begun(crew)
    for _name, happens in STAGES:
        happens(crew)
        crew.site.let_time_come()
        crew.points.arm()
        crew.do("advance_run", pk=run.pk)
        reached = Counter(filter(is_of_run, crew.points.reached))
        times = {point: {1, count if point.endswith("COMMIT") else 1} for point, count in reached.items()}
        yield [(point, occurrence) for point in times for occurrence in sorted(times[point])]
    check(crew, run)


def is_of_run(point: str) -> bool:
    effect = point.partition(" ")[2]
    return effect == CUT or effect.partition(".")[0] in MODULES


def is_killed(crew: Crew, stage: int, point: str, occurrence: int) -> None:
    """Bring a new run to the stage, kill its process there, and let another one continue."""
    run = begun(crew)
    for number, (_name, happens) in enumerate(STAGES):
        happens(crew)
        crew.site.let_time_come()
        crew.points.arm(point if number == stage else "", occurrence)
        status = crew.status_of("advance_run", pk=run.pk)
        if number == stage:
            assert status == KILLED, f"{point} was not reached: {status}\n{crew.points.reached}\n{crew.site.said()}"
            break
        assert status == 0, crew.site.said()
    go_on(crew, run)
    check(crew, run)


def begun(crew: Crew) -> JobRun:
    """Start a run about new rows: earlier rows have their effect."""
    crew.points.disarm()
    Review.objects.bulk_create(Review(text=f"Review {number}") for number in range(ROWS))
    crew.do("start_job", name=JOB)
    return JobRun.objects.latest("pk")


def go_on(crew: Crew, run: JobRun) -> None:
    """Let another process take over after the lease, and let time pass until the run is over."""
    crew.points.disarm()
    for _round in range(ROUNDS):
        crew.site.let_time_come()
        crew.site.let_the_quiet_period_pass()
        crew.do("advance_run", pk=run.pk)
        run.refresh_from_db()
        if not run.is_active:
            return
        crew.claude.finish()
    raise AssertionError(f"{run} is {run.state}: {run.last_error}{run.pause_reason}\n{crew.site.state_of_all()}")


def check(crew: Crew, run: JobRun) -> None:
    run.refresh_from_db()
    about = f"{run}: {run.state}, {run.last_error}{run.pause_reason}\n{crew.points.reached}\n{crew.site.said()}"
    assert run.state == RunState.FINISHED, about
    assert run.row_count == ROWS, about
    assert not Review.objects.exclude(effects=1).exists(), about
    assert Book.objects.filter(title=f"Run {run.pk} is over").count() == 1, about
