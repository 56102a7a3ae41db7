"""A job over many rows whose workers are killed repeatedly: each row has one effect, and is paid once.

    python -m tests.reliability.kills.many_rows --rows 250000 --kills 60

It makes a database of its own on PostgreSQL, an emulator and a Redis, and has Celery run the job as a site would. Its
exit code is 1 where a row was lost, paid twice or delivered twice, where there are not as many batches as the rows ask
for, and where no worker was killed while one of the four things was done.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import django
from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.reliability.project.settings")
if __name__ == "__main__":
    django.setup()

from django.db.models import Count, Max, Min, Sum

from django_claude_batches import wire
from django_claude_batches.models import BatchRequest, DeliveryChunk, FailedDelivery, JobRun, MessageBatch, RunState
from django_claude_batches.testing import EmulatorProcess
from tests.harness import databases
from tests.harness.library.models import Book, Review
from tests.reliability.kills.worker_kills import SHARES, Shooting
from tests.reliability.project.claude_jobs import JOB
from tests.reliability.servers import Redis
from tests.reliability.site import Site

PIECE = 10_000

# Seconds between two looks at how far all is.
LOOK = 0.02

# Seconds that each create call takes at least, so that a kill can interrupt the sending of a small batch.
HELD = 0.5


@dataclass
class Seen:
    """The outcome, by the database and by the server's ledger."""

    least: int
    largest: int
    rows: int
    requests: int
    delivered: int
    parked: int
    finished: int
    batches: list[int]
    creates: int
    made: list[int]
    made_of_row: int
    fetched: int
    most: int
    kills: Counter[str]
    seconds: float

    @property
    def violations(self) -> list[str]:
        """Return the violations."""
        musts = {
            f"each row has one effect, not {self.least} to {self.largest}": (self.least, self.largest) == (1, 1),
            f"{self.requests:,} requests were drafted of {self.rows:,} rows": self.requests == self.rows,
            f"{self.delivered:,} deliveries are counted": self.delivered == self.rows,
            f"{self.parked:,} handlers raised": not self.parked,
            f"on_finished had {self.finished} effects": self.finished == 1,
            f"the server made batches of {self.made}, and we have {self.batches}": self.made == self.batches,
            f"{self.made_of_row} batches were made for one of ours": self.made_of_row == 1,
            f"the results of {self.fetched:,} rows were fetched": self.fetched == self.rows,
            f"{len(self.batches)} batches, of {self.most:,} rows at most": len(self.batches) == self.batches_asked_for,
            f"workers were killed only while {', '.join(self.kills)}": set(self.kills) == set(SHARES),
        }
        return [text for text, holds in musts.items() if not holds]

    @property
    def batches_asked_for(self) -> int:
        """Return the number of batches that the rows need; the rows are too small to reach the limit of bytes."""
        return math.ceil(self.rows / self.most)


def fill(rows: int) -> None:
    for start in range(0, rows, PIECE):
        texts = (f"Tag review {number}" for number in range(start, min(start + PIECE, rows)))
        Review.objects.bulk_create([Review(text=text) for text in texts], batch_size=2000)


def run_through(site: Site, shooting: Shooting, *, seconds: float, most: int = wire.MAX_REQUESTS) -> Seen:
    """Run the job in batches of at most `most` requests. Raises AssertionError if it is not over after `seconds`."""
    begun = time.monotonic()
    site.claude.fault("slow_answer", on="create", times=None, delay=HELD)
    broker = Celery(broker=site.environment["BROKER_URL"])
    sent_at = -math.inf
    shooting.start()

    def look() -> None:
        nonlocal sent_at
        # A worker that is killed before the run exists takes the message along: in production beat sends the next one.
        if time.monotonic() - sent_at > 20 and not JobRun.objects.exists():
            broker.send_task("django_claude_batches.start_job", (JOB,), queue="reliability")
            sent_at = time.monotonic()
        shooting.look()
        site.claude.finish()

    site.until(lambda: JobRun.objects.filter(state=RunState.FINISHED).exists(), seconds=seconds, do=look, pause=LOOK)
    return look_at(site, most=most, kills=shooting.kills, seconds=time.monotonic() - begun)


def look_at(site: Site, **facts: Any) -> Seen:
    site.check()
    ledger = site.claude.ledger()
    made = [batch for batch in ledger["batches"] if not batch["stranger"]]
    fetched: dict[str, set[str]] = {}
    for download in ledger["downloads"]:
        rows = {custom_id.partition("_")[2] for custom_id in download["custom_ids"]}
        fetched.setdefault(download["batch_id"], set()).update(rows)
    effects = Review.objects.aggregate(rows=Count("pk"), least=Min("effects"), largest=Max("effects"))
    return Seen(
        **effects,
        **facts,
        requests=BatchRequest.objects.values("object_id").distinct().count(),
        delivered=DeliveryChunk.objects.aggregate(rows=Sum("delivered_count"))["rows"],
        parked=FailedDelivery.objects.count(),
        finished=Book.objects.count(),
        batches=sorted(MessageBatch.objects.values_list("request_count", flat=True), reverse=True),
        creates=len(ledger["creates"]),
        made=sorted((batch["request_count"] for batch in made), reverse=True),
        made_of_row=max(Counter(batch["tag"] for batch in made).values()),
        fetched=len(set().union(*fetched.values())) if len(fetched) == len(made) else 0,
    )


def show(seen: Seen, shooting: Shooting, *, seed: int) -> None:
    kills = ", ".join(f"{count} while {what}" for what, count in seen.kills.items())
    table: dict[str, Any] = {
        "Seed": seed,
        "Rows": f"{seen.rows:,}",
        "Batches, by their requests": ", ".join(f"{count:,}" for count in seen.batches),
        "Workers killed": f"{seen.kills.total()}: {kills}",
        "- of these, with all their processes": shooting.whole,
        "Started again since nothing moved": shooting.stood_still,
        **({"Resumed, after five kills in a row at one chunk": shooting.resumed} if shooting.resumed else {}),
        "Create calls, batches made": f"{seen.creates}, {len(seen.made)}",
        "Requests that the server has": f"{sum(seen.made):,}",
        "Effects of a row": f"{seen.least} at least, {seen.largest} at most",
        "Effects of `on_finished`": seen.finished,
        "Seconds": f"{seen.seconds:.0f}",
        "**Violations**": len(seen.violations),
    }
    print("| Seen | |\n| --- | --- |", *(f"| {what} | {value} |" for what, value in table.items()), sep="\n")
    for violation in seen.violations:
        sys.stderr.write(f"seed {seed}: {violation}\n")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.kills.many_rows", description=__doc__)
    parser.add_argument("--rows", type=int, default=250_000)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60, help="give up after so long")
    parser.add_argument("--patience", type=float, default=30, help="seconds without any progress: start anew")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as name,
        databases.new(databases.POSTGRES, Path(name)) as url,
        EmulatorProcess() as claude,
        Redis() as redis,
        Site(url, Path(name), claude, BROKER_URL=redis.url).open() as site,
    ):
        fill(options.rows)
        shooting = Shooting(site, Random(options.seed), options.rows, options.kills, options.patience)
        seen = run_through(site, shooting, seconds=options.minutes * 60)
        show(seen, shooting, seed=options.seed)
    return 1 if seen.violations else 0


if __name__ == "__main__":
    sys.exit(main())
