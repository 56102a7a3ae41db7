"""The admin's pages, the list of results beside a plain ModelAdmin's."""

from __future__ import annotations

from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import OURS
from tests.benchmarks.subjects.chain import lived

PLAIN = "plain ModelAdmin"
PAGES = ("all", "of one batch", "errored of one batch", "search")
OTHERS = (
    "requests of one batch",
    "batches",
    "batches that need attention",
    "batches with a custom_id",
    "a batch",
    "a result",
)
FILLING = 10_000
RESULTS_PER_BATCH = 100


def lists(bench: Bench) -> None:
    """Open the pages at `count` results, of a few batches, and a hundredth as many batches."""
    for _step, _run in lived(bench, OURS, count=min(bench.count, FILLING)):
        pass
    bench.prepare("multiply", "--n", str(bench.count))
    bench.prepare("crowd", "--n", str(bench.count // RESULTS_PER_BATCH))
    for page in PAGES:
        for _round in range(bench.rounds):
            for way, site in ((OURS, "admin"), (PLAIN, "plain")):
                bench.time(f"list: {page}", way, "lists", site, page)
    for page in OTHERS:
        for _round in range(bench.rounds):
            bench.time(f"page: {page}", OURS, "lists", "admin", page)
