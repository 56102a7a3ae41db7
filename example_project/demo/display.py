"""How far the batch is: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from django.utils import timezone
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from django_claude_batches.models import MessageBatch, State
from django_claude_batches.models.state import RUNNING

PLAIN_INTERVAL = 2.0
"""Seconds between two plain lines about the same state."""


class Display:
    """Shown while entered."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("stored"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=None)
        self._began = time.monotonic()
        self._shown = ("", -1, 0.0)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, batch: MessageBatch, stored: int) -> None:
        label = str(State(batch.state).label)
        if self._console.is_terminal:
            text = f"{label}{_next_look(batch)}"
            self._bar.update(self._task, description=text, total=batch.request_count, completed=stored)
            return
        elapsed = time.monotonic() - self._began
        last_label, last_stored, last_at = self._shown
        if label != last_label or (stored != last_stored and elapsed - last_at >= PLAIN_INTERVAL):
            self._console.print(
                f"{elapsed:6.1f} s  {label}, {stored:,} of {batch.request_count:,} stored", soft_wrap=True
            )
            self._shown = (label, stored, elapsed)


def _next_look(batch: MessageBatch) -> str:
    if batch.state not in RUNNING or batch.next_action_at is None:
        return ""
    seconds = (batch.next_action_at - timezone.now()).total_seconds()
    return f", next look in {seconds:.0f} s" if seconds > 0 else ", looking"
