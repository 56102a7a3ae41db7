"""Measure polling of the batches in flight."""

from __future__ import annotations

from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import OURS, PEER
from tests.benchmarks.stub.process import stub

IN_FLIGHT = 1000
LIST, GETS = "one listing, nothing written", "1,000 GETs, nothing written"


def poll(bench: Bench) -> None:
    """Poll 1,000 batches in flight: by a tick, which also writes, and by the calls alone."""
    bench.prepare("reset")
    with stub("--in-flight", str(IN_FLIGHT), "--latency", str(bench.latency)) as server:
        for _round in range(bench.rounds):
            for way, name in ((OURS, "tick"), (LIST, "list"), (GETS, "gets")):
                bench.time("poll", way, "polling", name, url=server.url)
            bench.time("poll", PEER, "peer", "poll", url=server.url)
    if bench.latency:
        bench.notes.append(f"poll: each answer takes {bench.latency:g} ms.")
