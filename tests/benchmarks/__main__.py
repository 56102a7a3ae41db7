"""Run the benchmark: `python -m tests.benchmarks --help`."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable
from functools import partial

from tests.benchmarks.bench import KINDS, Bench, bench
from tests.benchmarks.bounds import bounds
from tests.benchmarks.subjects.chain import measure, pipeline, profile
from tests.benchmarks.subjects.decoding import decode
from tests.benchmarks.subjects.jobs import jobs, shortly
from tests.benchmarks.subjects.lists import lists
from tests.benchmarks.subjects.polling import poll
from tests.benchmarks.subjects.sizes import memory, scale
from tests.benchmarks.table import lines, machine, verdicts

# The factor by which a busy machine may miss a bound.
MARGIN = 1.3

SUBJECTS: dict[str, Callable[[Bench], object]] = {
    "draft": partial(measure, last="draft"),
    "submit": partial(measure, last="submit"),
    "ingest": partial(measure, last="ingest"),
    "pipeline": pipeline,
    "profile": profile,
    "decode": decode,
    "poll": poll,
    "admin": lists,
    "memory": memory,
    "scale": scale,
    "jobs": jobs,
}


def check(made: Bench) -> None:
    """Measure everything that has bounds at a small size, in a minute or two; all subjects only on PostgreSQL."""
    if made.kind != "postgres":
        measure(made, "ingest", with_peer=False)
        return
    pipeline(made, all_limits=False)
    for subject in (decode, poll, memory, shortly):
        subject(made)


def report(made: Bench, margin: float) -> list[str]:
    """Print all verdicts; return the bounds that were missed by more than the margin."""
    found = list(bounds(made))
    print(f"`python -m tests.benchmarks {shlex.join(sys.argv[1:])}`: medians of {made.rounds}.\n{machine(made)}.\n")
    print("\n".join(lines(made.figures)), "", *made.notes, "", *verdicts(found, margin), sep="\n")
    return [str(bound) for bound in found if not bound.holds(margin)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("subject", nargs="?", choices=SUBJECTS, default="pipeline")
    parser.add_argument(
        "--n", type=int, default=10_000, help="requests in a batch; results in the admin's list; rows of a job"
    )
    parser.add_argument("--db", choices=KINDS, default="sqlite")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compression", choices=["pglz", "lz4"], default="", help="PostgreSQL: of our large columns")
    parser.add_argument("--latency", type=float, default=0, help="milliseconds before each answer, for poll")
    parser.add_argument("--check", action="store_true", help="all subjects that have bounds; fail where one is missed")
    options = parser.parse_args()
    with bench(options.db, options.n, rounds=options.rounds, compression=options.compression) as made:
        made.latency = options.latency
        (check if options.check else SUBJECTS[options.subject])(made)
        missed = report(made, MARGIN)
    return 1 if options.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
