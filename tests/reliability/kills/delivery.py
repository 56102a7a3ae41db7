"""Deliver results, and be killed or suspended at one row (`python -m tests.reliability.kills.delivery`)."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django


def main(mishap: str, row: str, *chunks: str) -> None:
    """Deliver these chunks with a mishap: one of `MISHAPS`, or `mine:its:row` to meet another process.

    Then this process writes to the row that the other one has written to.
    """
    django.setup()

    from django.db.models import F

    from django_claude_batches.services.delivery.deliver import deliver
    from tests.harness.library.models import Review
    from tests.harness.shop import job

    def on_result(self: Any, review: Review, result: Any) -> None:
        Review.objects.filter(pk=review.pk).update(effects=F("effects") + 1)
        if str(review.pk) == row:
            befall(mishap)

    def befall(mishap: str) -> None:
        if mishap in MISHAPS:
            MISHAPS[mishap]()
            return
        if mishap == CHECKED:
            return
        mine, other, pk = mishap.split(":")
        meet(Path(mine), Path(other))
        Review.objects.filter(pk=pk).update(tags="of both")

    def read_output(self: Any, result: Any) -> None:
        if mishap == CHECKED and str(result.request.object_id) == row:
            killed()

    job(on_result=on_result, read_output=read_output)
    for pk in chunks:
        deliver(int(pk))


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def stopped() -> None:
    """Suspend the process between two transactions, where it has no locks."""
    from django.db import transaction

    transaction.on_commit(lambda: os.kill(os.getpid(), signal.SIGSTOP))


def meet(mine: Path, other: Path) -> None:
    """Wait until the other process is in the middle of its transaction too."""
    mine.touch()
    give_up_at = time.monotonic() + 30
    while not other.exists():
        if time.monotonic() > give_up_at:
            sys.exit("the other process is not there at the same time")
        time.sleep(0.01)


CHECKED = "killed while its answer is checked"
MISHAPS: dict[str, Callable[[], object]] = {"none": lambda: None, "killed": killed, "stopped": stopped}

if __name__ == "__main__":
    main(*sys.argv[1:])
