"""Measure streaming and decoding alone."""

from __future__ import annotations

from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import OURS

LINES, SDK = "result_lines + json", "the SDK's results()"


def decode(bench: Bench) -> None:
    remote = bench.stub.seed(bench.count, gzip=1)
    for _round in range(bench.rounds):
        for way, name in ((OURS, "results"), (LINES, "lines"), (SDK, "sdk")):
            bench.time("decode", way, "decoding", name, remote)
    bench.stub.forget(remote)
