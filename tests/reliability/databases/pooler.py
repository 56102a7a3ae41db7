"""Workers behind a transaction pooler: each result is linked to the request of its own batch.

    python -m tests.reliability.databases.pooler --batches 150 --requests 30

It makes a database of its own on PostgreSQL, an emulator and a PgBouncer with `pool_mode = transaction`, and has forked
processes draft, send and fetch the batches side by side, with Django's default settings. Its exit code is 1 where a
request, a result or an answer is in the wrong place, and where anything raised.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.reliability.project.settings")
if __name__ == "__main__":
    django.setup()

from django_claude_batches.models import BatchRequest, BatchResult, MessageBatch
from django_claude_batches.testing import EmulatorProcess
from tests.harness import databases
from tests.harness.library.models import Review
from tests.reliability.servers import PgBouncer
from tests.reliability.site import Site

PROCESSES = 6

# Seconds for each of the two steps; both together take ten on an idle machine.
SECONDS = 100


@dataclass(frozen=True)
class Seen:
    """The contents of the database at the end, and the number of requests."""

    requests: int

    # Requests whose text is that of their review.
    drafted: int

    # Results, by the request to which they are linked: their *own*, *another* batch's, or *none*.
    linked: Counter[str]

    # Reviews that have the answer to their own text.
    answered: int
    states: Counter[str]

    # Batches with an error, by what was done with them.
    failed: Counter[str]
    seconds: float

    @property
    def violations(self) -> list[str]:
        """Return the violations."""
        musts = {
            f"{self.drafted:,} of {self.requests:,} requests ask about their own review": self.drafted == self.requests,
            f"results are linked to requests of: {dict(self.linked)}": self.linked == {"own": self.requests},
            f"{self.answered:,} of {self.requests:,} reviews have their answer": self.answered == self.requests,
            f"batches are {dict(self.states)}": set(self.states) == {"ingested"},
            f"batches with errors: {dict(self.failed)}": not self.failed.total(),
        }
        return [text for text, holds in musts.items() if not holds]


def storm(site: Site, pooler_url: str, *, batches: int, requests: int, processes: int = PROCESSES) -> Seen:
    """Draft, send and fetch the batches through the pooler; read the outcome without it."""
    begun = time.monotonic()
    numbers = range(batches * requests)
    Review.objects.bulk_create(Review(text=f"review {number}", effects=number // requests) for number in numbers)
    failed = Counter[str]()
    for verb in ("send", "fetch"):
        arguments = (verb, str(processes), str(batches))
        running = site.start("-m", "tests.reliability.databases.forked", *arguments, DATABASE_URL=pooler_url)
        failed[verb] = running.wait(timeout=SECONDS)
        site.claude.finish()
    return look(batches * requests, failed=failed, seconds=time.monotonic() - begun)


def look(requests: int, **facts: Any) -> Seen:
    texts = dict(Review.objects.values_list("pk", "text"))
    asked = BatchRequest.objects.order_by().values_list("object_id", "params_text")
    tags = Review.objects.values_list("text", "tags")
    return Seen(
        requests=requests,
        drafted=sum(f'Tag this review: {texts[int(pk)]}"' in params for pk, params in asked),
        linked=Counter(map(_whose, BatchResult.objects.select_related("request"))),
        answered=sum(answer.endswith(f"Tag this review: {text}") for text, answer in tags),
        states=Counter(MessageBatch.objects.values_list("state", flat=True)),
        **facts,
    )


def _whose(result: BatchResult) -> str:
    if result.request is None:
        return "none"
    own = (result.batch_id, result.custom_id)
    return "own" if (result.request.batch_id, result.request.custom_id) == own else "another"


def show(seen: Seen) -> None:
    table: dict[str, Any] = {
        "Requests that ask about their own review": f"{seen.drafted:,} of {seen.requests:,}",
        "Results linked to their own request": f"{seen.linked['own']:,} of {seen.requests:,}",
        "- to one of another batch, to none": f"{seen.linked['another']:,}, {seen.linked['none']:,}",
        "Reviews with their own answer": f"{seen.answered:,} of {seen.requests:,}",
        "Batches": ", ".join(f"{count:,} {state}" for state, count in seen.states.items()),
        "Batches with an error when sent, when fetched": f"{seen.failed['send']:,}, {seen.failed['fetch']:,}",
        "Seconds": f"{seen.seconds:.0f}",
        "**Violations**": len(seen.violations),
    }
    print("| Seen | |\n| --- | --- |", *(f"| {what} | {value} |" for what, value in table.items()), sep="\n")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.databases.pooler", description=__doc__)
    parser.add_argument("--batches", type=int, default=150)
    parser.add_argument("--requests", type=int, default=30, help="of each batch")
    parser.add_argument("--processes", type=int, default=PROCESSES)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as name,
        databases.new(databases.POSTGRES, Path(name)) as url,
        EmulatorProcess() as claude,
        PgBouncer() as pooler,
        Site(url, Path(name), claude).open() as site,
    ):
        seen = storm(site, pooler.url_of(url), **vars(options))
        show(seen)
        if seen.failed.total():
            sys.stderr.write(site.said())
    return 1 if seen.violations else 0


if __name__ == "__main__":
    sys.exit(main())
