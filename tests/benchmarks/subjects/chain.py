"""Draft, submit and ingest: ours, the peer and the limits take turns."""

from __future__ import annotations

from collections.abc import Iterator

from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import LIMIT, OURS, PEER, Run

STEPS = ("draft", "submit", "ingest")
REQUESTS, RESULTS = (f"django_claude_batches_batch{name}" for name in ("request", "result"))
BY_HAND = "bulk_create(1000)"
LOADING = {"sqlite": "executemany", "postgres": "psql \\copy", "mariadb": "LOAD DATA LOCAL"}


def measure(bench: Bench, last: str, *, all_limits: bool = True, with_peer: bool = True) -> None:
    """Run the steps up to `last` in each round, and a resume after an ingest.

    Without `all_limits`, only the limit of ingesting is measured: drafting and submitting are compared with the peer.
    """
    steps = STEPS[: STEPS.index(last) + 1]
    loading = f"none ({LOADING[bench.kind]}: {bench.no_limit})" if bench.no_limit else LOADING[bench.kind]
    bench.notes.append(f"Limit: {loading}; for submit, a plain socket.")
    for _round in range(bench.rounds):
        ours(bench, steps)
        limits(bench, steps if all_limits and with_peer else steps[2:])
        if not with_peer:
            continue
        for step, run in lived(bench, PEER, steps, gzip=1):
            bench.figures.add(step, PEER, run)


def profile(bench: Bench) -> None:
    """Print a profile of our ingest."""
    for step, run in lived(bench, OURS, (*STEPS[:2], "profile")):
        bench.figures.add(step, OURS, run)
    bench.notes += ["", *run.facts["profile"]]


def pipeline(bench: Bench, *, all_limits: bool = True) -> None:
    """Run all steps, and add the sum of each round."""
    measure(bench, STEPS[-1], all_limits=all_limits)
    for way in (OURS, PEER):
        for runs in zip(*(bench.figures.runs[step, way] for step in STEPS), strict=True):
            worst = max(runs, key=lambda run: run.grown_mb)
            total = sum(run.seconds for run in runs)
            bench.figures.add("pipeline", way, Run(runs[0].rows, total, worst.peak_mb, worst.base_mb))


def lived(
    bench: Bench, way: str, steps: tuple[str, ...] = STEPS, *, count: int = 0, **finishing: int
) -> Iterator[tuple[str, Run]]:
    """Run these steps for the only batch of its database; the stub deletes it at the end.

    `finishing` are the options of `StubProcess.finish`.
    """
    module = "peer" if way == PEER else "ours"
    remote = ""
    for step in steps:
        if step in {"ingest", "profile"}:
            bench.stub.finish(remote, **finishing)
        fresh = ("--fresh",) if module == "ours" and step == "draft" else ()
        run = bench.run(way, module, step, "--n", str(count or bench.count), *fresh)
        if run.rows != (count or bench.count):
            raise RuntimeError(f"{step} of {way} had {run.rows} rows")
        remote = run.facts.get("remote", remote)
        yield step, run
    if remote:
        bench.stub.forget(remote)


def ours(bench: Bench, steps: tuple[str, ...]) -> None:
    """Run our steps and a resume, and on SQLite ingest once more by hand."""
    resume = ("resume",) if "ingest" in steps else ()
    for step, run in lived(bench, OURS, steps + resume):
        bench.figures.add(step, OURS, run)
        if step == "resume" and bench.kind == "sqlite":
            bench.prepare("unstore")
            bench.time("ingest", BY_HAND, "by_hand")


def limits(bench: Bench, steps: tuple[str, ...]) -> None:
    """Load the rows that ours has just stored, and post the body that it has just sent."""
    if "submit" in steps:
        remote = bench.time("submit", LIMIT, "posting").facts["remote"]
        bench.stub.forget(remote)
    for step, table in (("draft", REQUESTS), ("ingest", RESULTS)):
        if step in steps and not bench.no_limit:
            loaded = bench.time(step, LIMIT, "loading", table).rows
            if loaded != bench.count:
                raise RuntimeError(f"{LOADING[bench.kind]} loaded {loaded} rows")
