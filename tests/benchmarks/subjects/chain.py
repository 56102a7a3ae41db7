"""Draft, submit, ingest: ours, the peer and the limits, taking turns."""

from __future__ import annotations

from tests.benchmarks.bench import Bench, finish
from tests.benchmarks.figures import LIMIT, OURS, PEER, Run

STEPS = ("draft", "submit", "ingest")
REQUESTS, RESULTS = (f"django_claude_batches_batch{name}" for name in ("request", "result"))
BY_HAND = "bulk_create(1000)"
LOADING = {"sqlite": "executemany", "postgres": "psql \\copy", "mariadb": "LOAD DATA LOCAL"}


def measure(bench: Bench, last: str) -> None:
    """Run the steps up to `last` as often as there are rounds. After an ingest there is a resume."""
    steps = STEPS[: STEPS.index(last) + 1]
    bench.notes.append(f"The limit is {LOADING[bench.kind]}; that of submit is a plain socket.")
    for _round in range(bench.rounds):
        ours(bench, steps)
        limits(bench, steps)
        peer(bench, steps)


def pipeline(bench: Bench) -> None:
    """Run all steps, and add up those of each round."""
    measure(bench, STEPS[-1])
    for way in (OURS, PEER):
        for runs in zip(*(bench.figures.runs[step, way] for step in STEPS), strict=True):
            worst = max(runs, key=lambda run: run.grown_mb)
            total = sum(run.seconds for run in runs)
            bench.figures.add("pipeline", way, Run(runs[0].rows, total, worst.peak_mb, worst.base_mb))


def ours(bench: Bench, steps: tuple[str, ...], *, suffix: str = "", count: int = 0, large_mb: int = 0) -> None:
    bench.prepare("reset")
    remote = ""
    for step in steps:
        if step == "ingest":
            bench.stub.finish(remote, large_mb=large_mb)
        run = bench.time(step + suffix, OURS, "ours", step, "--n", str(count or bench.count))
        remote = run.facts.get("remote", remote)
    if "ingest" in steps and not suffix:
        bench.time("resume", OURS, "ours", "resume")
        if bench.kind == "sqlite":
            bench.prepare("unstore")
            bench.time("ingest", BY_HAND, "by_hand")
    if remote:
        bench.stub.forget(remote)


def limits(bench: Bench, steps: tuple[str, ...]) -> None:
    """Load what ours has just stored."""
    bench.time("draft", LIMIT, "loading", REQUESTS)
    if "submit" in steps:
        remote = bench.time("submit", LIMIT, "posting").facts["remote"]
        bench.stub.forget(remote)
    if "ingest" in steps:
        bench.time("ingest", LIMIT, "loading", RESULTS)


def peer(bench: Bench, steps: tuple[str, ...]) -> None:
    finish(bench.start(PEER, "peer", "reset"))
    remote = ""
    for step in steps:
        if step == "ingest":
            bench.stub.finish(remote, gzip=1)
        run = bench.time(step, PEER, "peer", step, "--n", str(bench.count))
        remote = run.facts.get("remote", remote)
    if remote:
        bench.stub.forget(remote)
