"""What must be reached, as ratios of one run: seconds differ from machine to machine and prove nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import LIMIT, OURS, PEER, Figures
from tests.benchmarks.subjects import others
from tests.benchmarks.subjects.chain import BY_HAND, STEPS

FULL = 100_000
"""Requests from which on also those bounds hold that a start-up of some milliseconds would blur."""

MOST_MB, MOST_GROWN_MB, MOST_MORE_MB = 120.0, 25.0, 5.0


@dataclass(frozen=True, slots=True)
class Bound:
    """A figure and how large it may be at most, or must be at least. An exact one knows no margin."""

    text: str
    value: float
    limit: float
    at_most: bool = False
    exact: bool = False
    unit: str = "×"

    def holds(self, margin: float = 1.0) -> bool:
        margin = 1.0 if self.exact else margin
        return self.value <= self.limit * margin if self.at_most else self.value >= self.limit / margin

    def __str__(self) -> str:
        word = "at most" if self.at_most else "at least"
        return f"{self.text}: {self.value:.4g}{self.unit}, must be {word} {self.limit:g}{self.unit}"


def bounds(bench: Bench) -> Iterator[Bound]:
    """Give the bounds on what was measured in this run."""
    for part in (_of_postgres, _of_others, _of_memory, _of_sizes, _of_polling, _of_lists):
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
    if figures.has(("decode", OURS), ("decode", others.SDK)):
        yield Bound("decode, faster than the SDK's results()", figures.ratio("decode", others.SDK), 3)


def _of_memory(bench: Bench) -> Iterator[Bound]:
    figures = bench.figures
    long_lines = {key for key in figures.runs if key[0].endswith(" MB")}
    for step, way in figures.runs:
        if way != OURS or (step, way) in long_lines or step.startswith(("poll", "list")):
            continue
        run = figures.worst(step)
        yield Bound(f"{step}, memory beyond its base", run.grown_mb, MOST_GROWN_MB, at_most=True, unit=" MB")
        yield Bound(f"{step}, memory", run.peak_mb, MOST_MB, at_most=True, unit=" MB")
    for step, way in long_lines:
        most = 4.0 * others.LARGE_MB
        yield Bound(f"{step}, memory beyond its base", figures.worst(step, way).grown_mb, most, True, unit=" MB")
    if figures.has(("submit", OURS), ("submit", PEER)):
        # A small body is lost in what Python and the SDK take anyway: then only what came on top is compared.
        whole = bench.count >= FULL
        mb: Callable[[str], float] = lambda way: getattr(
            figures.worst("submit", way), "peak_mb" if whole else "grown_mb"
        )
        text = "submit, memory" if whole else "submit, memory beyond its base"
        yield Bound(f"{text}, of the peer's", mb(OURS) / mb(PEER), 1 / 8, at_most=True)


def _of_sizes(bench: Bench) -> Iterator[Bound]:
    """Hold the larger of the last two sizes of each step against the smaller."""
    figures = bench.figures
    for step in STEPS:
        sizes = sorted(_sizes(figures, step))[-2:]
        if len(sizes) < 2:
            continue
        small, large = (f"{step}, {size:,}" for size in sizes)
        more = figures.worst(large).peak_mb - figures.worst(small).peak_mb
        yield Bound(f"{large}, memory beyond that of {sizes[0]:,}", more, MOST_MORE_MB, at_most=True, unit=" MB")
        if step == "ingest" and sizes[1] >= FULL:
            yield Bound(f"{large}, rows per second of {sizes[0]:,}", figures.rate(large) / figures.rate(small), 0.85)


def _sizes(figures: Figures, step: str) -> Iterator[int]:
    for name, way in figures.runs:
        head, _, size = name.partition(", ")
        if head == step and way == OURS and size.replace(",", "").isdigit():
            yield int(size.replace(",", ""))


def _of_polling(bench: Bench) -> Iterator[Bound]:
    figures = bench.figures
    if figures.has(("poll", OURS)):
        yield Bound("poll of 1,000 batches, requests", figures.most("poll", "requests"), 2, True, True, "")
        yield Bound("poll, faster than the peer's 1,000 GETs, all written", figures.ratio("poll", PEER), 50)
        calls = figures.ratio("poll", others.GETS, to=others.LIST)
        yield Bound("poll, the calls alone, faster than 1,000 GETs", calls, 50)


def _of_lists(bench: Bench) -> Iterator[Bound]:
    figures = bench.figures
    for page in others.PAGES:
        step = f"list: {page}"
        if figures.has((step, OURS)):
            yield Bound(f"{step}, queries", figures.most(step, "queries"), 10, True, True, "")
            if bench.count >= 1_000_000:
                yield Bound(f"{step}, of a plain ModelAdmin", 1 / figures.ratio(step, others.PLAIN), 0.25, at_most=True)
