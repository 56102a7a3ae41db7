"""A task of the project, which shows that a fault of the environment takes effect."""

from __future__ import annotations

import time
from pathlib import Path

from celery import shared_task

STEP = 0.1


@shared_task
def linger(path: str, seconds: float) -> None:
    """Take so long, with no limits of its own; the file gets a line when it begins and one when it ends."""
    note = Path(path)
    _append(note, "begun")
    for _ in range(round(seconds / STEP)):
        time.sleep(STEP)
    _append(note, "ended")


def _append(path: Path, word: str) -> None:
    with path.open("a") as file:
        file.write(f"{word}\n")
