"""Print the outcome of a soak as a table."""

from __future__ import annotations

import sys
from collections import Counter

from django_claude_batches.models import BatchRequest, BatchResult, MessageBatch

from .check import Findings, Ledger
from .run import Soak


def show(soak: Soak, findings: Findings, ledger: Ledger, *, seed: int, database: str, seconds: float) -> None:
    named = [name for request in ledger["requests"] for name in request["faults"]]
    fired = Counter(name for name in named if ":" not in name)
    bent = Counter(name for name in named if ":" in name)
    strangers = sum(batch["stranger"] for batch in ledger["batches"])
    errors = soak.crew.errors
    rows = {
        "Seed": f"{seed}",
        "Database": database,
        "Batches": f"{MessageBatch.objects.count():,}, {soak.submitted:,} of them new and the others retries",
        "Requests, results": f"{BatchRequest.objects.count():,}, {BatchResult.objects.count():,}",
        "Create calls, batches made": f"{len(ledger['creates']):,}, {len(ledger['batches']) - strangers:,}",
        "Strangers' batches": f"{strangers:,}",
        "Calls": f"{len(ledger['requests']):,}",
        "Workers killed": f"{soak.crew.kills:,}",
        "Errors that workers raised": f"{len(errors):,}",
        "Seconds": f"{seconds:.0f}",
        "Answers bent": f"{bent.total():,}, in {len(bent):,} ways",
        "Faults": f"{fired.total():,}",
        **{f"- {name}": f"{count:,}" for name, count in sorted(fired.items())},
        **{f"Explained: {why}": f"{count:,}" for why, count in sorted(findings.explained.items())},
        "**Duplicates paid**": f"{len(findings.duplicates):,}",
        "**Results lost**": f"{len(findings.lost):,}",
        "**Rows stuck**": f"{len(findings.stuck):,}",
    }
    print("| Seen | |\n| --- | --- |", *(f"| {what} | {value} |" for what, value in rows.items()), sep="\n")
    for what, count in Counter(error[:200] for error in errors).most_common(20):
        sys.stderr.write(f"raised {count} times: {what}\n")
    for kind in ("duplicates", "lost", "stuck"):
        for text in getattr(findings, kind):
            sys.stderr.write(f"seed {seed}: {kind}: {text}\n")
