"""Measure memory and speed at several sizes and with several processes."""

from __future__ import annotations

from tests.benchmarks.bench import Bench, finish, run_of
from tests.benchmarks.figures import OURS, Run
from tests.benchmarks.subjects.chain import STEPS, lived
from tests.benchmarks.subjects.hostile import hostile

SMALL = 10_000
LARGE_MB = 32
LONG_LINE = f", one of {LARGE_MB} MB"
ALONE, TOGETHER = "one process, one batch", "two processes, two batches"


FILES = ("plain", "wide", "values", "lines", "cells")
CHECK_FILE = "check a file: "


def memory(bench: Bench) -> None:
    """Run our steps at two sizes, with one very long line, and with hostile answers and files.

    A size that was already measured in this run is not measured again.
    """
    small = min(SMALL, bench.count)
    large = bench.count if bench.count > small else 3 * small
    for count in (small, large):
        if name(bench, "ingest", count) == "ingest":
            continue
        for step, run in lived(bench, OURS, count=count):
            bench.figures.add(sized(step, count), OURS, run)
    bench.figures.sizes |= {small, large}
    if bench.kind == "mariadb":
        bench.notes.append(f"No line of {LARGE_MB} MB: MariaDB takes 16 MB in a statement (max_allowed_packet).")
    else:
        *_others, (_ingest, run) = lived(bench, OURS, count=small, large_mb=LARGE_MB)
        bench.figures.add(sized("ingest", small) + LONG_LINE, OURS, run)
    hostile(bench)
    for file in FILES:
        finish(bench.start(OURS, "uploads", "keep", "--file", file))
        bench.time(CHECK_FILE + file, OURS, "uploads", "check")


def sized(step: str, count: int) -> str:
    return f"{step}, {count:,}"


def name(bench: Bench, step: str, count: int) -> str:
    """Return the name of our step at this size in the figures."""
    return step if count == bench.count and bench.figures.has((step, OURS)) else sized(step, count)


def scale(bench: Bench) -> None:
    """Ingest at three sizes, then two batches at the same time in two processes, and one of them alone."""
    bench.figures.sizes |= {count for count in (bench.count // 100, bench.count // 10, bench.count) if count}
    for _round in range(bench.rounds):
        for count in sorted(bench.figures.sizes):
            *_others, (_ingest, run) = lived(bench, OURS, count=count)
            bench.figures.add(sized("ingest", count), OURS, run)
    _two_at_once(bench)


def _two_at_once(bench: Bench) -> None:
    bench.prepare("reset")
    pks, remotes = [], []
    for _batch in range(2):
        for step in STEPS[:2]:
            facts = bench.run(OURS, "ours", step, "--n", str(bench.count)).facts
        pks.append(str(facts["batch"]))
        remotes.append(facts["remote"])
        bench.stub.finish(facts["remote"])
    for _round in range(bench.rounds):
        bench.prepare("unstore")
        bench.time("ingest at once", ALONE, "ours", "ingest", "--batch", pks[0])
        bench.prepare("unstore")
        bench.figures.add("ingest at once", TOGETHER, _together(bench, pks))
    more = bench.figures.rate("ingest at once", TOGETHER) / bench.figures.rate("ingest at once", ALONE)
    bench.notes.append(f"Two processes store {more:.2f} times the rows per second of one.")
    for remote in remotes:
        bench.stub.forget(remote)


def _together(bench: Bench, pks: list[str]) -> Run:
    return together(bench, *(("ours", "ingest", "--batch", pk) for pk in pks))


def together(bench: Bench, *steps: tuple[str, ...]) -> Run:
    """Run these steps at the same time, and measure the seconds from the first start to the last end."""
    bench.settle(OURS)
    processes = [bench.start(OURS, *step, "--wait") for step in steps]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    runs = [run_of(finish(process)) for process in processes]
    seconds = max(run.facts["ended_at"] for run in runs) - min(run.facts["began_at"] for run in runs)
    worst = max(runs, key=lambda run: run.grown_mb)
    return Run(sum(run.rows for run in runs), seconds, worst.peak_mb, worst.base_mb)
