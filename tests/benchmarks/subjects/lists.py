"""The admin's list of results."""

from __future__ import annotations

from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import OURS
from tests.benchmarks.subjects.chain import lived

PLAIN = "plain ModelAdmin"
PAGES = ("all", "of one batch", "errored of one batch", "search")
FILLING = 10_000


def lists(bench: Bench) -> None:
    """Open the list of results at `count` rows."""
    for _step, _run in lived(bench, OURS, count=min(bench.count, FILLING)):
        pass
    bench.prepare("multiply", "--n", str(bench.count))
    for page in PAGES:
        for _round in range(bench.rounds):
            for way, site in ((OURS, "admin"), (PLAIN, "plain")):
                bench.time(f"list: {page}", way, "lists", site, page)
