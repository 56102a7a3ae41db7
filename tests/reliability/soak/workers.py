"""Worker processes that tick. Between two rounds they wait; during one, any of them may be killed."""

from __future__ import annotations

import logging
import multiprocessing
import os
import time
from multiprocessing.connection import Connection, wait
from pathlib import Path
from random import Random
from typing import Any

from django.db import connections

from django_claude_batches.services import engine
from django_claude_batches.services.reconciliation import late_arrivals
from tests.reliability.site import Site

logger = logging.getLogger(__name__)

# Seconds after a kill, in which server and database finish what the dead process had sent them.
SETTLING = 0.5

# Forked, because starting Python and Django again would take longer than a round.
FORKING: Any = multiprocessing.get_context("fork")


class Worker:
    """One process, which ticks once for each command."""

    def __init__(self, site: Site, log: Path) -> None:
        connections.close_all()  # two processes must not share a connection
        self.connection, theirs = FORKING.Pipe()
        self.process = FORKING.Process(target=_work, args=(theirs, site.environment, log), daemon=True)
        self.process.start()
        theirs.close()

    def tick(self) -> None:
        self.connection.send("tick")

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()

    @property
    def is_done(self) -> bool:
        """Whether its tick is over. Raises RuntimeError if it died without being killed."""
        if self.connection.poll():
            self.connection.recv()
            return True
        if not self.process.is_alive():
            raise RuntimeError(f"a worker died by itself: {self.process.exitcode}")
        return False


class Crew:
    """The workers of a run; `kills` counts those that were killed, and replaced."""

    def __init__(self, site: Site, size: int, random: Random) -> None:
        self.site, self.random, self.kills = site, random, 0
        self.log = site.folder / "workers.log"
        self._workers = [Worker(site, self.log) for _ in range(size)]
        self._lasted = 1.0

    def begin_round(self) -> None:
        for worker in self._workers:
            worker.tick()

    def end_round(self, *, kills: int) -> None:
        """Wait until all have ticked, and kill so many of them at any moment until then, each replaced at once."""
        begun = time.monotonic()
        at = sorted(begun + self.random.uniform(0, 0.8 * self._lasted) for _ in range(kills))
        waiting = list(self._workers)
        killed = 0
        while waiting:
            wait([worker.connection for worker in waiting], timeout=max(0, at[0] - time.monotonic()) if at else 1)
            waiting = [worker for worker in waiting if not worker.is_done]
            if at and waiting and time.monotonic() >= at[0]:
                del at[0]
                killed += 1
                waiting.append(self._replace(waiting.pop(self.random.randrange(len(waiting)))))
        self._lasted = time.monotonic() - begun
        time.sleep(SETTLING if killed else 0)

    def _replace(self, worker: Worker) -> Worker:
        worker.kill()
        self.kills += 1
        fresh = Worker(self.site, self.log)
        self._workers[self._workers.index(worker)] = fresh
        fresh.tick()
        return fresh

    def dismiss(self) -> None:
        for worker in self._workers:
            worker.kill()

    @property
    def errors(self) -> list[str]:
        """What the workers' own machine did wrong, by their log: the last line of each traceback."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return [line.removeprefix(MARK) for line in lines if line.startswith(MARK)]


MARK = "raised: "


def _work(connection: Connection, environment: dict[str, str], log: Path) -> None:
    os.environ.update(environment)
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    logging.basicConfig(level=logging.INFO)
    while connection.recv():
        try:
            engine.tick(_advance)
            late_arrivals.watch_due()
        except Exception as error:  # noqa: BLE001
            _tell(error)
        connection.send("done")


def _advance(pk: int) -> None:
    """As a task does: what is raised for one batch does not stop the next."""
    try:
        engine.advance_if_due(pk)
    except Exception as error:  # noqa: BLE001
        _tell(error)


def _tell(error: Exception) -> None:
    logger.exception("A worker goes on.")
    os.write(2, f"{MARK}{type(error).__name__}: {error}".replace("\n", " ").encode() + b"\n")
