"""Processes of our own: started with a log each, looked after, and ended with all that they started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

GRACE = 20.0
"""Seconds that all have together after TERM: a worker finishes what it is doing."""

TAIL = 15
"""Lines of a log to show when its process has died."""

ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class ProcessDied(RuntimeError):
    """A process ended that should not have; the text has the end of its log."""


class Interrupted(SystemExit):
    """Ctrl-C, TERM or a closed terminal. A SystemExit: it is no error, and everything on the way is tidied up."""


class Process:
    """A Python process in a session of its own, so that Ctrl-C in our terminal does not reach it before we do."""

    def __init__(self, name: str, arguments: list[str], *, log: Path, env: Mapping[str, str], cwd: Path) -> None:
        self.name = name
        self.log = log
        with log.open("wb") as out:
            self._popen = subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env={**os.environ, **env},
                start_new_session=True,
            )

    def check(self) -> None:
        """Raise ProcessDied if it has ended."""
        code = self._popen.poll()
        if code is None:
            return
        lines = self.log.read_text(errors="replace").splitlines()[-TAIL:]
        ended = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        tail = "\n".join(f"    {line}" for line in lines)
        raise ProcessDied(f"The {self.name} {ended}. The end of {self.log}:\n{tail}")

    def first_line(self, *, within: float = 30.0) -> str:
        """Give the first line that it printed; raise ProcessDied if it ends or takes more than so many seconds."""
        give_up_at = time.monotonic() + within
        while time.monotonic() < give_up_at:
            first, newline, _rest = self.log.read_text(errors="replace").partition("\n")
            if newline:
                return first
            self.check()
            time.sleep(0.05)
        raise ProcessDied(f"The {self.name} printed nothing for {within:g} s; its log is {self.log}.")

    def terminate(self) -> None:
        # The leader alone: Celery's pool processes would die at once of a TERM, in the middle of a task.
        self._popen.terminate()

    def end(self, *, within: float) -> None:
        """Wait until it has ended, so many seconds at most, and kill whatever is left of its group."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(max(within, 0.0))
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()


class Processes:
    """The processes of a run. However the block is left, none of them outlives it."""

    def __init__(self, logs: Path, *, cwd: Path) -> None:
        self._logs = logs
        self._cwd = cwd
        self._started: list[Process] = []
        self._handlers = {number: signal.getsignal(number) for number in ENDINGS}
        self._interrupted: int | None = None
        self._starting = False

    def __enter__(self) -> Self:
        for number, handler in self._handlers.items():
            if handler is not signal.SIG_IGN:  # nohup and background jobs of a shell
                signal.signal(number, self._interrupt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number in ENDINGS:
            signal.signal(number, signal.SIG_IGN)
        try:
            self._end_all()
        finally:
            for number, handler in self._handlers.items():
                signal.signal(number, handler)

    def start(self, name: str, arguments: list[str], env: Mapping[str, str]) -> Process:
        # An interruption between its birth and our list of what to end would leave it behind.
        self._starting = True
        try:
            process = Process(name, arguments, log=self._logs / f"{name}.log", env=env, cwd=self._cwd)
            self._started.append(process)
        finally:
            self._starting = False
        if self._interrupted is not None:
            raise Interrupted(128 + self._interrupted)
        return process

    def check(self) -> None:
        """Raise ProcessDied for the first that has ended."""
        for process in self._started:
            process.check()

    def _end_all(self) -> None:
        for process in reversed(self._started):
            process.terminate()
        give_up_at = time.monotonic() + GRACE
        for process in reversed(self._started):
            process.end(within=give_up_at - time.monotonic())

    def _interrupt(self, number: int, _frame: object) -> None:
        """Raise once: a second Ctrl-C must not interrupt the cleanup."""
        is_first = self._interrupted is None
        self._interrupted = self._interrupted or number
        if is_first and not self._starting:
            raise Interrupted(128 + number)
