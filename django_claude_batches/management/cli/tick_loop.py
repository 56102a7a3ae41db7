"""`tick --loop`: repeated rounds; with several accounts each one's calls are made in a thread of its own.

A create call may take many minutes, and a slow server can hold any other call for its total time limit: in one thread
the other accounts' batches would wait for that. Jobs and uploaded files stay in the main thread, since a project's
handlers may expect no other one.
"""

from __future__ import annotations

import threading
import time

from django.db import connections

from django_claude_batches.management.cli.graceful_stop import Interruption
from django_claude_batches.management.cli.tick_steps import Work
from django_claude_batches.models.due import is_work_due
from django_claude_batches.schedule import TICK_SECONDS
from django_claude_batches.services.engine import accounts_at_work

# Seconds until the next round while more is due.
SOON = 1.0

# Kinds of threads. Each wakes the other, because what one did may create work for the other.
MAIN, ACCOUNTS = "main", "accounts"


class Loop:
    """Do rounds until a signal asks to stop; then each thread finishes its current batch."""

    def __init__(self, work: Work, interruption: Interruption) -> None:
        self._work = work
        self._interruption = interruption
        self._threads: dict[str, threading.Thread] = {}
        self._news = {MAIN: 0, ACCOUNTS: 0}

    def run(self) -> None:
        while not self._interruption.wished:
            self._rest(self._round(), MAIN)
        for thread in self._threads.values():
            thread.join()

    def _round(self) -> float:
        """Do one round of the main thread; return the seconds until the next."""
        before = self._work.done
        more = self._work.round(self._steps)
        self._news[ACCOUNTS] += self._work.done > before
        return SOON if more else TICK_SECONDS

    def _steps(self) -> bool:
        before = self._work.done
        self._start_threads()
        if self._threads:
            self._work.without_accounts()
            return self._work.done > before
        self._work.everything()
        return is_work_due()

    def _start_threads(self) -> None:
        """Start a thread for each account that has none, or whose thread died; for a single account there is none."""
        aliases = accounts_at_work()
        if len(aliases) == 1 and not self._threads:
            return
        for alias in aliases:
            if alias not in self._threads or not self._threads[alias].is_alive():
                # A daemon: a second Ctrl-C ends the process even if a server does not respond.
                self._threads[alias] = threading.Thread(target=self._look_after, args=(alias,), name=alias, daemon=True)
                self._threads[alias].start()

    def _look_after(self, alias: str) -> None:
        """Do an account's rounds: all that calls its server."""
        work = Work(self._work.console, self._interruption, self._work.advanced, self._work.failed)

        def steps() -> bool:
            before = work.done
            work.of_account(alias)
            return work.done > before

        while not self._interruption.wished:
            before = work.done
            more = work.round(steps)
            self._news[MAIN] += work.done > before
            if not more:
                connections.close_all()  # an idle account holds no connection
            self._rest(SOON if more else TICK_SECONDS, ACCOUNTS)
        connections.close_all()

    def _rest(self, seconds: float, who: str) -> None:
        """Sleep for so many seconds, until this kind of thread has new work, or until a signal asks to stop."""
        news, until = self._news[who], time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self._interruption.pause(min(left, SOON)) or self._news[who] != news:
                return
