"""Print the outcome of the trials as a table."""

from __future__ import annotations

import sys
from collections import Counter

from .trial import Seen


def show(seen: Seen, *, seed: int, database: str, seconds: float) -> None:
    write = sys.stdout.write
    write(f"| Seeds | {seed} to {seed + seen.trials - 1}, on {database} |\n| --- | --- |\n")
    verbs, kinds, hows = Counter[str](), Counter[str](), Counter[str]()
    for name, count in seen.bent.items():
        what, _, how = name.partition(",how=")
        verbs[what.partition(":")[0]] += count
        kinds[what.partition("=")[0].partition(":")[2]] += count
        hows[how or what.partition("=")[2]] += count if how or ":field" not in what else 0
    rows = {
        "Ticks": f"{seen.ticks:,}",
        "Answers bent": f"{sum(seen.bent.values()):,}, in {len(seen.bent):,} ways",
        "- to": _listed(verbs),
        "- what": _listed(kinds),
        "- how": _listed(Counter(dict(hows.most_common(12)))),
        "Batches": f"{seen.batches:,}",
        "- of the bent account, at the end": _listed(seen.states),
        "Create calls": f"{seen.creates:,}",
        "Results": f"{seen.results:,}",
        "Seconds": f"{seconds:.0f}",
    }
    for name, value in rows.items():
        write(f"| {name} | {value} |\n")
    for kind in ("raised", "late", "healthy", "lost", "unreadable", "paid twice", "stuck"):
        write(f"| **{MEANING[kind]}** | {sum(f': {kind}: ' in line for line in seen.violations)} |\n")


MEANING = {
    "raised": "Ticks, tasks and audits that raised",
    "late": "Healthy work that was late",
    "healthy": "Healthy batches that went wrong",
    "lost": "Stored, and lost",
    "unreadable": "Unreadable errors",
    "paid twice": "Paid twice",
    "stuck": "Stuck after answers are correct again",
}


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.most_common())
