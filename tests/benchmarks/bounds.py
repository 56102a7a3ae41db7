"""The bounds, as ratios within one run, because seconds differ from machine to machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import LIMIT, OURS, PEER
from tests.benchmarks.subjects import decoding, jobs, lists, polling, sizes
from tests.benchmarks.subjects.chain import BY_HAND, STEPS

# The number of requests from which on those bounds are checked too that a start-up of some milliseconds would distort.
FULL = 100_000

MOST_MB, MOST_GROWN_MB, MOST_MORE_MB = 120.0, 25.0, 5.0


@dataclass(frozen=True, slots=True)
class Bound:
    """A figure and its maximum or minimum. The margin does not apply to an exact one."""

    text: str
    value: float
    limit: float
    at_most: bool = False
    exact: bool = False
    unit: str = "x"

    def holds(self, margin: float = 1.0) -> bool:
        margin = 1.0 if self.exact else margin
        return self.value <= self.limit * margin if self.at_most else self.value >= self.limit / margin

    def __str__(self) -> str:
        word = "at most" if self.at_most else "at least"
        return f"{self.text}: {self.value:.4g}{self.unit}, must be {word} {self.limit:g}{self.unit}"


def bounds(bench: Bench) -> Iterator[Bound]:
    """Return the bounds for the figures of this run."""
    for part in (_of_postgres, _of_others, _of_memory, _of_sizes, _of_polling, _of_lists, _of_jobs):
        yield from part(bench)


def _of_postgres(bench: Bench) -> Iterator[Bound]:
    if bench.kind != "postgres":
        return
    figures, lz4 = bench.figures, bench.compression == "lz4"
    if figures.has(("ingest", OURS), ("ingest", LIMIT)):
        yield Bound("ingest, of psql \\copy", 1 / figures.ratio("ingest", LIMIT), 1.5, at_most=True)
    faster = {"draft": (3, 2), "submit": (2.5, 2), "ingest": (4.5, 3), "pipeline": (4, 2.5)}
    for step, (with_lz4, without) in faster.items():
        if figures.has((step, OURS), (step, PEER)):
            yield Bound(f"{step}, faster than the peer", figures.ratio(step, PEER), with_lz4 if lz4 else without)
    if figures.has(("resume", OURS)):
        yield Bound("resume, the table's growth", figures.most("resume", "grown"), 0, True, True, " bytes")
        # With lz4 the first ingest is so fast that decoding alone takes a quarter of it.
        if not lz4:
            yield Bound(
                "resume, faster than the first ingest", figures.seconds("ingest") / figures.seconds("resume"), 5
            )


def _of_others(bench: Bench) -> Iterator[Bound]:
    figures = bench.figures
    if figures.has(("ingest", BY_HAND)):
        yield Bound("ingest, faster than bulk_create(1000)", figures.ratio("ingest", BY_HAND), 1.4)
    if bench.kind == "mariadb" and figures.has(("ingest", LIMIT)):
        yield Bound("ingest, of LOAD DATA LOCAL", 1 / figures.ratio("ingest", LIMIT), 3, at_most=True)
    if figures.has(("decode", OURS), ("decode", decoding.SDK)):
        yield Bound("decode, faster than the SDK's results()", figures.ratio("decode", decoding.SDK), 3)


def _of_memory(bench: Bench) -> Iterator[Bound]:
    figures = bench.figures
    steps = [step for step, way in figures.runs if way == OURS and not step.startswith(("poll", "list", "page"))]
    normal = [step for step in steps if not step.endswith(sizes.LONG_LINE) and not step.startswith(sizes.CHECK_FILE)]
    if normal:
        grown = max(normal, key=lambda step: figures.worst(step).grown_mb)
        yield _mb(f"any step ({grown}), beyond its base", figures.worst(grown).grown_mb, MOST_GROWN_MB)
        peak = max(normal, key=lambda step: figures.worst(step).peak_mb)
        yield _mb(f"any step ({peak})", figures.worst(peak).peak_mb, MOST_MB)
    for step in set(steps) - set(normal):
        # SQLite runs in the same process, and copies the line four times; it stores a file in pieces.
        if bench.kind == "postgres" or step.startswith(sizes.CHECK_FILE):
            yield _mb(f"{step}, beyond its base", figures.worst(step).grown_mb, 4 * sizes.LARGE_MB)
    if figures.has(("submit", OURS), ("submit", PEER)) and bench.count >= sizes.SMALL:
        ours, peer = figures.worst("submit", OURS), figures.worst("submit", PEER)
        if bench.count >= FULL:
            yield Bound("memory of submit, of the peer's", ours.peak_mb / peer.peak_mb, 1 / 8, at_most=True)
        else:  # a small body is negligible beside the memory of Python and the SDK
            yield Bound("memory of submit beyond its base, of the peer's", ours.grown_mb / peer.grown_mb, 1 / 8, True)


def _mb(text: str, value: float, limit: float) -> Bound:
    return Bound(f"memory of {text}", value, limit, at_most=True, unit=" MB")


def _of_sizes(bench: Bench) -> Iterator[Bound]:
    """Compare the larger of the last two sizes with the smaller."""
    figures, two = bench.figures, sorted(bench.figures.sizes)[-2:]
    if len(two) < 2:
        return
    for step in (*STEPS, *jobs.STEPS):
        small, large = (sizes.name(bench, step, size) for size in two)
        if not figures.has((small, OURS), (large, OURS)):
            continue
        if two[0] >= sizes.SMALL:  # a smaller one does not fill the largest chunk
            more = figures.worst(large).peak_mb - figures.worst(small).peak_mb
            yield _mb(f"{large}, beyond that of {two[0]:,}", more, MOST_MORE_MB)
        if step == "ingest" and two[1] >= FULL:
            yield Bound(f"{large}, rows per second of {two[0]:,}", figures.rate(large) / figures.rate(small), 0.85)


def _of_polling(bench: Bench) -> Iterator[Bound]:
    figures = bench.figures
    if figures.has(("poll", OURS)):
        yield Bound("poll of 1,000 batches, requests", figures.most("poll", "requests"), 2, True, True, "")
        if bench.latency:  # without latency, 1,000 answers take no longer than writing 1,000 rows
            yield Bound("poll, faster than the peer's 1,000 GETs, all written", figures.ratio("poll", PEER), 50)
        calls = figures.ratio("poll", polling.GETS, to=polling.LIST)
        yield Bound("poll, the calls alone, faster than 1,000 GETs", calls, 50)


def _of_lists(bench: Bench) -> Iterator[Bound]:
    figures = bench.figures
    for page in lists.OTHERS:
        step = f"page: {page}"
        if figures.has((step, OURS)):
            yield Bound(f"{step}, queries", figures.most(step, "queries"), 10, True, True, "")
    for page in lists.SUMS:
        step = f"page: {page}"
        if figures.has((step, OURS), ("page: batches", OURS)):
            yield Bound(f"{step}, queries", figures.most(step, "queries"), 6, True, True, "")
            if bench.count >= 1_000_000:
                value = figures.seconds(step) / figures.seconds("page: batches")
                yield Bound(f"{step}, of the list of batches", value, 1, at_most=True)
    for page in lists.PAGES:
        step = f"list: {page}"
        if figures.has((step, OURS)):
            yield Bound(f"{step}, queries", figures.most(step, "queries"), 10, True, True, "")
            if bench.count >= 1_000_000:
                yield Bound(f"{step}, of a plain ModelAdmin", 1 / figures.ratio(step, lists.PLAIN), 0.25, at_most=True)


def _of_jobs(bench: Bench) -> Iterator[Bound]:
    figures, step = bench.figures, sizes.sized(jobs.DELIVER, sizes.SMALL)
    # SQLite runs in the same process: a savepoint costs almost nothing, so the package's own code takes most of the
    # time.
    if bench.kind == "postgres" and figures.has((step, OURS), (step, jobs.LOOP)):
        yield Bound("deliver, of a plain loop", 1 / figures.ratio(step, jobs.LOOP), 3, at_most=True)
