"""Measure the admin's pages, and a plain ModelAdmin for the list of results."""

from __future__ import annotations

from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import OURS
from tests.benchmarks.subjects.chain import lived

PLAIN = "plain ModelAdmin"
PAGES = ("all", "of one batch", "errored of one batch", "search")
# Pages that read a batch's answers until they have found enough, or reach their time limit.
SEARCHES = ("results, a word of one batch", "results, a word in those cut off")
OTHERS = (
    "results, page 100 at most, of one batch",
    "results, cut off, of one batch",
    "results, usable, of all",
    "results, cut off, of all",
    "results, refused, of all",
    "results, errored, of all",
    "results, of unknown cost, of all",
    "requests of one batch",
    "batches",
    "batches that need attention",
    "batches with a custom_id",
    "a batch",
    "a result",
)
# Pages of sums, which read no results, and must not be slower than the list of batches.
SUMS = ("usage", "usage by model of 90 days")
# One batch has a tenth of the results.
FILLING = 10
RESULTS_PER_BATCH = 100


def lists(bench: Bench) -> None:
    """Open the pages at `count` results, of ten batches, and a hundredth as many batches."""
    for _step, _run in lived(bench, OURS, count=max(bench.count // FILLING, 1)):
        pass
    bench.prepare("crowd", "--n", str(bench.count // RESULTS_PER_BATCH))
    bench.prepare("multiply", "--n", str(bench.count))
    for page in PAGES:
        for _round in range(bench.rounds):
            for way, site in ((OURS, "admin"), (PLAIN, "plain")):
                bench.time(f"list: {page}", way, "lists", site, page)
    for page in (*OTHERS, *SEARCHES, *SUMS):
        for _round in range(bench.rounds):
            bench.time(f"page: {page}", OURS, "lists", "admin", page)
