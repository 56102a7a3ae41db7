"""Decoding alone, polling, the admin's lists, memory, and several processes."""

from __future__ import annotations

from tests.benchmarks.bench import Bench, finish, run_of
from tests.benchmarks.figures import OURS, PEER, Run
from tests.benchmarks.stub.process import stub
from tests.benchmarks.subjects.chain import STEPS, lived

LINES, SDK = "result_lines + json", "the SDK's results()"
IN_FLIGHT = 1000
LIST, GETS = "one listing, nothing written", "1,000 GETs, nothing written"
PLAIN = "plain ModelAdmin"
PAGES = ("all", "of one batch", "errored of one batch", "search")
FILLING = 10_000
LARGE_MB = 32
SMALL = 10_000
BOTH = "two processes, two batches"


def decode(bench: Bench) -> None:
    remote = bench.stub.seed(bench.count, gzip=1)
    for _round in range(bench.rounds):
        for way, name in ((OURS, "results"), (LINES, "lines"), (SDK, "sdk")):
            bench.time("decode", way, "decoding", name, remote)
    bench.stub.forget(remote)


def poll(bench: Bench, *, latency: float = 0) -> None:
    """Look at 1,000 batches in flight: `tick`, which writes what it sees; and the calls alone."""
    bench.prepare("reset")
    finish(bench.start(PEER, "peer", "reset"))
    with stub("--in-flight", str(IN_FLIGHT), "--latency", str(latency)) as server:
        for _round in range(bench.rounds):
            for way, name in ((OURS, "tick"), (LIST, "list"), (GETS, "gets")):
                bench.time("poll", way, "polling", name, url=server.url)
            bench.time("poll", PEER, "peer", "poll", url=server.url)
    if latency:
        bench.notes.append(f"poll: each answer takes {latency:g} ms.")


def lists(bench: Bench) -> None:
    """Open the list of results at `count` rows."""
    for _step, _run in lived(bench, OURS, count=min(bench.count, FILLING)):
        pass
    bench.prepare("multiply", "--n", str(bench.count))
    for page in PAGES:
        for _round in range(bench.rounds):
            for way, site in ((OURS, "admin"), (PLAIN, "plain")):
                bench.time(f"list: {page}", way, "lists", site, page)


def memory(bench: Bench) -> tuple[int, int]:
    """Run our steps at two sizes, and ingest one very long line among others; give the sizes."""
    small = min(SMALL, bench.count)
    large = bench.count if bench.count > small else 3 * small
    for count in (small, large):
        for step, run in lived(bench, OURS, count=count):
            bench.figures.add(f"{step}, {count:,}", OURS, run)
    if bench.kind == "mariadb":
        bench.notes.append(f"No line of {LARGE_MB} MB: MariaDB takes 16 MB in a statement (max_allowed_packet).")
    else:
        *_others, (_ingest, run) = lived(bench, OURS, count=small, large_mb=LARGE_MB)
        bench.figures.add(long_line(small), OURS, run)
    return small, large


def long_line(count: int) -> str:
    return f"ingest, {count:,}, one of {LARGE_MB} MB"


def scale(bench: Bench) -> None:
    """Ingest at three sizes, then two batches at once in two processes, beside one of them alone."""
    for _round in range(bench.rounds):
        for count in (bench.count // 100, bench.count // 10, bench.count):
            *_others, (_ingest, run) = lived(bench, OURS, count=count)
            bench.figures.add(f"ingest, {count:,}", OURS, run)
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
        bench.time("ingest at once", "one process, one batch", "ours", "ingest", "--batch", pks[0])
        bench.prepare("unstore")
        bench.figures.add("ingest at once", BOTH, _together(bench, pks))
    for remote in remotes:
        bench.stub.forget(remote)


def _together(bench: Bench, pks: list[str]) -> Run:
    """Ingest these batches at the same time; the seconds are from the first beginning to the last end."""
    bench.settle(OURS)
    processes = [bench.start(OURS, "ours", "ingest", "--wait", "--batch", pk) for pk in pks]
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
