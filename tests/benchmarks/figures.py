"""The measured figures: several runs of each step, each way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

OURS, PEER, LIMIT = "ours", "peer", "limit"


@dataclass(frozen=True, slots=True)
class Run:
    """The output of one process; memory is its peak at its end and before the step, in MB."""

    rows: int
    seconds: float
    peak_mb: float
    base_mb: float
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def grown_mb(self) -> float:
        return self.peak_mb - self.base_mb


class Figures:
    """Runs by step and way, and the sizes at which our steps were run for comparison."""

    def __init__(self) -> None:
        self.runs: dict[tuple[str, str], list[Run]] = defaultdict(list)
        self.sizes: set[int] = set()

    def add(self, step: str, way: str, run: Run) -> Run:
        self.runs[step, way].append(run)
        return run

    def has(self, *keys: tuple[str, str]) -> bool:
        return all(self.runs.get(key) for key in keys)

    def seconds(self, step: str, way: str = OURS) -> float:
        return median(run.seconds for run in self.runs[step, way])

    def cpu_seconds(self, step: str, way: str) -> float:
        """Return the CPU seconds of the step's own process, without the database's."""
        return median(float(run.facts.get("cpu_seconds", 0)) for run in self.runs[step, way])

    def rate(self, step: str, way: str = OURS) -> float:
        """Return the rows per second."""
        return self.runs[step, way][0].rows / self.seconds(step, way)

    def worst(self, step: str, way: str = OURS) -> Run:
        """Return the run that took the most memory beyond its base."""
        return max(self.runs[step, way], key=lambda run: run.grown_mb)

    def ratio(self, step: str, way: str, to: str = OURS) -> float:
        """Return the time of a way divided by the time of ours."""
        return self.seconds(step, way) / self.seconds(step, to)

    def most(self, step: str, fact: str, way: str = OURS) -> float:
        return max(float(run.facts[fact]) for run in self.runs[step, way])
