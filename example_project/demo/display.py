"""How far it is: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from django.utils import timezone
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from demo.errand import Progress as HowFar

PLAIN_INTERVAL = 2.0
"""Seconds between two plain lines about the same state."""


class Display:
    """Shown while entered."""

    def __init__(self, console: Console, *, unit: str) -> None:
        self._console = console
        self._unit = unit
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
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

    def show(self, now: HowFar) -> None:
        if self._console.is_terminal:
            text = f"{now.label}{_next_look(now)}"
            self._bar.update(self._task, description=text, total=now.total, completed=now.done)
            return
        elapsed = time.monotonic() - self._began
        last_label, last_done, last_at = self._shown
        if now.label != last_label or (now.done != last_done and elapsed - last_at >= PLAIN_INTERVAL):
            text = f"{elapsed:6.1f} s  {now.label}, {now.done:,} of {now.total:,} {self._unit}"
            self._console.print(text, soft_wrap=True)
            self._shown = (now.label, now.done, elapsed)


def _next_look(now: HowFar) -> str:
    if now.next_look_at is None:
        return ""
    seconds = (now.next_look_at - timezone.now()).total_seconds()
    return f", next look in {seconds:.0f} s" if seconds > 0 else ", looking"
