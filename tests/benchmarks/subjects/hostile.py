"""Measure memory and time of our steps while the answers are hostile."""

from __future__ import annotations

from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import OURS

ENDPOINTS = ("create", "list", "retrieve", "results")
BODIES = {"bomb": "a gzip bomb of 1 GB", "markup": '200 kB of "<"', "flood": "20 MB of surplus lines"}
PREFIX = "hostile "


def hostile(bench: Bench) -> None:
    """Run each step once for each hostile body."""
    for endpoint in ENDPOINTS:
        for body, words in BODIES.items():
            if body != "flood" or endpoint == "results":
                bench.time(f"{PREFIX}{endpoint}, {words}", OURS, "hostile", endpoint, body)
