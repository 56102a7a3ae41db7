"""Measure drafting a job's rows and delivering its results, also by hand and by two workers."""

from __future__ import annotations

from tests.benchmarks.bench import Bench, finish
from tests.benchmarks.figures import OURS, Run
from tests.benchmarks.subjects.sizes import SMALL, sized, together

DRAFT, DELIVER, BY_SCHEMA = "draft rows", "deliver", "deliver, by schema"
BY_HAND, LOOP, RECEIVER = "create_draft", "plain loop", "receiver"
TWO = "two workers"
STEPS = (DRAFT, DELIVER, BY_SCHEMA)
JOBS = {DELIVER: "tag-reviews", BY_SCHEMA: "tag-reviews-by-schema"}


def jobs(bench: Bench) -> None:
    """Draft and deliver at two sizes; at the larger one only ours, once, to compare its memory and speed."""
    small = min(SMALL, bench.count)
    bench.figures.sizes |= {small, bench.count}
    _do(bench, "fill", "--n", str(small))
    for _round in range(bench.rounds):
        _time(bench, DRAFT, small, BY_HAND, "draft-by-hand")
        _time(bench, DRAFT, small, OURS, "draft")
    _do(bench, "store")
    for _round in range(bench.rounds):
        for step in JOBS:
            _deliver(bench, step, small)
    if bench.count > small:
        _ours(bench, bench.count)


def shortly(bench: Bench) -> None:
    """Draft, deliver and loop once at the smaller size: the steps that have bounds."""
    count = min(SMALL, bench.count)
    _ours(bench, count)
    _do(bench, "begin")
    _time(bench, DELIVER, count, LOOP, "loop")


def _ours(bench: Bench, count: int) -> None:
    """Draft and deliver this number of rows."""
    _do(bench, "fill", "--n", str(count))
    _time(bench, DRAFT, count, OURS, "draft")
    _do(bench, "store")
    _do(bench, "begin")
    _time(bench, DELIVER, count, OURS, "deliver")
    _do(bench, "check", "--n", str(count))


def _deliver(bench: Bench, step: str, count: int) -> None:
    job = ("--job", JOBS[step])
    ways = {OURS: "deliver", LOOP: "loop"}
    if step == DELIVER:
        ways[RECEIVER] = "receive"
    for way, module_step in ways.items():
        _do(bench, "begin", *job)
        _time(bench, step, count, way, module_step, *job)
        if way != LOOP:  # which gives each row the same answer
            _do(bench, "check", "--n", str(count))
    _do(bench, "begin", *job)
    run = together(bench, *[("jobs", "deliver", *job)] * 2)
    _checked(bench.figures.add(sized(step, count), TWO, run), count)
    _do(bench, "check", "--n", str(count))


def _time(bench: Bench, step: str, count: int, way: str, *arguments: str) -> None:
    _checked(bench.time(sized(step, count), way, "jobs", *arguments), count)


def _checked(run: Run, count: int) -> None:
    if run.rows != count:
        raise RuntimeError(f"{run.rows} rows and not {count}")


def _do(bench: Bench, *arguments: str) -> None:
    """Prepare the rows; not timed."""
    finish(bench.start(OURS, "jobs", *arguments))
