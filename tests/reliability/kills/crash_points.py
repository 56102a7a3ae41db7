"""Crash points: named points at which a process kills itself with SIGKILL if it is armed.

A point is armed by files in the folder `CRASH_FOLDER` of a process's environment; without it nothing happens. One point
at a time can be armed, also while the processes run: only the first process that reaches it kills itself.
"""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from pathlib import Path

# Where in an effect: `head sent`, `sent` and `first bytes` are parts of a call to Anthropic.
BEFORE, HEAD_SENT, SENT, FIRST_BYTES, AFTER = "before", "head sent", "sent", "first bytes", "after"


class CrashFolder:
    """Stores which point is armed, which points were reached since then, and which process was killed."""

    def __init__(self, path: Path) -> None:
        path.mkdir(exist_ok=True)
        self._reached, self._armed, self._struck = path / "reached", path / "armed", path / "struck"

    def arm(self, point: str = "", occurrence: int = 1, *, with_group: bool = False) -> None:
        """Kill the process that reaches the point for the n-th time from now on. Without a point, only record.

        `with_group`: with all of its process group, which is a worker with its children.
        """
        self.disarm()
        text = json.dumps({"point": point, "occurrence": occurrence, "with_group": with_group})
        new = self._armed.with_suffix(".new")
        new.write_text(text)
        new.rename(self._armed)

    def disarm(self) -> None:
        for path in (self._armed, self._struck, self._reached):
            path.unlink(missing_ok=True)

    @property
    def reached(self) -> list[str]:
        return self._reached.read_text().splitlines() if self._reached.exists() else []

    @property
    def has_struck(self) -> bool:
        return self._struck.exists()

    def pass_by(self, point: str) -> None:
        """Record that a process is at this point; kill it if it is the armed one."""
        try:
            armed = json.loads(self._armed.read_text())
        except FileNotFoundError:
            return
        with self._reached.open("a") as file:  # one small write to the end: two processes do not mix
            file.write(f"{point}\n")
        if armed["point"] == point and self.reached.count(point) >= armed["occurrence"]:
            self._strike(with_group=armed["with_group"])

    def _strike(self, *, with_group: bool) -> None:
        with suppress(FileNotFoundError):  # another process was first
            self._armed.rename(self._struck)
            if with_group:
                os.killpg(0, signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)


def folder() -> CrashFolder | None:
    path = os.environ.get("CRASH_FOLDER")
    return CrashFolder(Path(path)) if path else None


def crashpoint(point: str) -> None:
    if (here := folder()) is not None:
        here.pass_by(point)
