"""The processes of a site that are killed, one for each order."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.models import AccountState, MessageBatch, SubmitAttempt
from tests.harness.factories import make_due
from tests.harness.library.models import Book
from tests.reliability.kills.crash_points import CrashFolder
from tests.reliability.kills.seams import STORED
from tests.reliability.site import LONG_AGO, Site

# A verb of the command `obey`, and its arguments.
Order = dict[str, Any]

KILLED = -9
ROUNDS = 12


class Crew:
    """While open, executes each order in a separate process, which can be killed at a point."""

    def __init__(self, site: Site) -> None:
        self.site, self.claude = site, site.claude
        self.points = CrashFolder(site.folder / "crash")

    @contextmanager
    def open(self) -> Iterator[Crew]:
        with (self.site.folder / "crew.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "django", "obey"],
                env=self.site.environment | {"CRASH_FOLDER": str(self.site.folder / "crash")},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        try:
            yield self
        finally:
            self._process.kill()
            self._process.communicate()

    def status_of(self, verb: str, **arguments: Any) -> int:
        """Execute the order, and return the exit status of its process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"verb": verb, **arguments}) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def do(self, verb: str, **arguments: Any) -> None:
        assert self.status_of(verb, **arguments) == 0, self.site.said()

    def tick(self) -> None:
        self.site.let_time_come()
        self.do("tick")

    def finish(self, pk: int) -> None:
        """End the batches at Anthropic that this batch's attempts made."""
        for remote_id in self.made_for(pk):
            self.claude.finish(remote_id)

    def made_for(self, pk: int) -> list[str]:
        """Return the ids that a batch's attempts made, by the emulator's ledger."""
        tags = set(SubmitAttempt.objects.filter(batch=pk).values_list("tag", flat=True))
        return [made["id"] for made in self.claude.ledger()["batches"] if made["tag"] in tags]

    def let_its_time_come(self, order: Order) -> None:
        """Make only the batch of the order due, and expire the leases of accounts."""
        now = timezone.now()
        AccountState.objects.update(lease_until=now - LONG_AGO, next_watch_at=now - LONG_AGO)
        MessageBatch.objects.filter(next_action_at__isnull=False).update(next_action_at=now + LONG_AGO)
        for batch in MessageBatch.objects.filter(pk=order.get("pk")):
            make_due(batch)

    def retry_now(self) -> None:
        """Continue until everything is complete: submit drafts, resume accounts, and let time pass."""
        self.points.disarm()
        self.claude.clear_faults()
        for _round in range(ROUNDS):
            services.resume("default")
            for batch in MessageBatch.objects.drafts():
                services.submit(batch)
            self.claude.finish()
            self.site.let_the_quiet_period_pass()
            self.let_its_time_come({})
            self.tick()
            if self.site.is_complete() and not MessageBatch.objects.filter(next_action_at__isnull=False).exists():
                break
        else:
            raise AssertionError(f"after {ROUNDS} rounds:\n{self.site.state_of_all()}\n{self.site.said()}")
        # End the watch for batches that may still turn up.
        SubmitAttempt.objects.update(watch_until=timezone.now() - LONG_AGO)


def check_receivers(site: Site) -> None:
    """Raise AssertionError unless the project's receiver did its work for each batch, after its results were stored."""
    stored = dict(Book.objects.values_list("title", "summary"))
    for batch in MessageBatch.objects.all():
        told = stored.get(str(batch.pk))
        assert told == STORED.format(count=batch.request_count), f"{batch}: {told}\n{site.said()}"
