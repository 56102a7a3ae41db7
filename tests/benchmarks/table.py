"""Format the figures as a Markdown table."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path

from tests.benchmarks.bench import Bench
from tests.benchmarks.bounds import Bound
from tests.benchmarks.figures import LIMIT, OURS, Figures

HEADINGS = ("step", "way", "seconds", "own CPU", "of ours", "rows/s", "peak MB", "base MB", "and")
SHOWN = {"grown": "the tables grew by {:,} bytes", "requests": "{} requests", "queries": "{} queries"}


def machine(bench: Bench) -> str:
    """Return a description of the machine and the software."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    parts = [
        f"{os.cpu_count()} cores ({_processor()}), {pages / 1024**3:.0f} GiB",
        f"Linux {platform.release()}, Python {platform.python_version()}",
        *(f"{name} {version(name)}" for name in ("Django", "requests", "anthropic")),
        f"{bench.server}{f' ({bench.compression})' if bench.compression else ''}",
    ]
    return ", ".join(parts)


def _processor() -> str:
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return names[0].partition(": ")[2] if names else platform.machine()


def lines(figures: Figures) -> Iterator[str]:
    """Return the table: the median of the seconds, and the run with the most memory."""
    yield f"| {' | '.join(HEADINGS)} |"
    yield "|" + " --- |" * len(HEADINGS)
    for step, way in figures.runs:
        yield f"| {' | '.join(_cells(figures, step, way))} |"


def _cells(figures: Figures, step: str, way: str) -> list[str]:
    seconds, worst = figures.seconds(step, way), figures.worst(step, way)
    ratio = f"{figures.ratio(step, way):.2f}" if figures.has((step, OURS)) else ""
    memory = ["", ""] if way == LIMIT else [f"{worst.peak_mb:.0f}", f"{worst.base_mb:.0f}"]
    facts = [text.format(worst.facts[name]) for name, text in SHOWN.items() if name in worst.facts]
    rate = f"{figures.rate(step, way):,.0f}" if worst.rows else ""
    cpu = f"{figures.cpu_seconds(step, way):.3f}" if figures.cpu_seconds(step, way) else ""
    return [step, way, f"{seconds:.3f}", cpu, ratio, rate, *memory, ", ".join(facts)]


def verdicts(bounds: Iterable[Bound], margin: float) -> Iterator[str]:
    """Return for each bound whether it is reached, or missed within the margin."""
    for bound in bounds:
        word = "reached" if bound.holds() else "NOT REACHED" if not bound.holds(margin) else "within the margin"
        yield f"- {word}: {bound}"
