from __future__ import annotations

import logging
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError
from django.db import Error as DatabaseError
from django.db import InterfaceError, OperationalError, close_old_connections

from django_claude_batches import services
from django_claude_batches.management.console import Console
from django_claude_batches.management.exits import Exit
from django_claude_batches.management.interruption import Interruption
from django_claude_batches.management.showing import counted
from django_claude_batches.management.subcommand import Subcommand
from django_claude_batches.models.due import is_work_due
from django_claude_batches.schedule import TICK_SECONDS

logger = logging.getLogger(__name__)

NO_REST = timedelta(0)

SOON = 1.0
"""Seconds until the next round while more is due."""


class Tick(Subcommand):
    name = "tick"
    help = (
        "Do what is due for all batches, in this process and without Celery: send, poll, fetch, announce, draft the "
        "rows of jobs and hand them their results, check and draft uploaded files, audit each account once a day, and "
        "purge it by RETENTION. Run it from cron every minute, or with --loop, which looks every "
        f"{TICK_SECONDS} s, sooner while work is due, until Ctrl-C or TERM; the batch in hand is finished first."
    )
    example = "manage.py claude_batches tick --loop"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--loop", action="store_true", help="go on until Ctrl-C or TERM")

    def run(self, console: Console, options: dict[str, Any]) -> None:
        with Interruption() as interruption:
            work = _Work(console, interruption)
            if options["loop"]:
                console.say(f"Looking every {TICK_SECONDS} s. Ctrl-C or TERM stops it.")
                work.loop()
            else:
                work.once()
        done = len(work.advanced)
        console.say(f"Advanced {counted(done, 'batch', 'batches')}; {len(work.failed):,} failed.")
        console.document({"advanced": sorted(set(work.advanced)), "failed": work.failed})
        if work.failed and not options["loop"]:
            raise CommandError(f"{counted(len(work.failed), 'batch', 'batches')} failed.", returncode=Exit.FAILED)


@dataclass
class _Work:
    """What was done, one batch after the other; an error of one does not stop the others."""

    console: Console
    interruption: Interruption
    advanced: list[int] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)

    def loop(self) -> None:
        while not self.interruption.wished:
            self.interruption.pause(self._round())

    def once(self) -> None:
        """Do each step. An error in one does not keep the others from being done; a lost database does."""
        self._step("runs", lambda: services.hand_out_runs(self.drive, rest=NO_REST))
        self._step("queue", services.release)
        self._step("batches", lambda: services.tick(self.advance))
        self._step("deliveries", lambda: services.hand_out_deliveries(self.deliver, rest=NO_REST))
        self._step("files", lambda: services.hand_out_uploads(self.prepare))
        self._step("watch", services.watch_due)
        self._step("audit", services.audit_due)
        self._step("purge", services.purge_due)

    def _step(self, name: str, do: Callable[[], object]) -> None:
        if self.interruption.wished:
            return
        try:
            do()
        except (OperationalError, InterfaceError):
            raise
        except Exception as error:
            logger.exception("Step %s of the tick failed.", name)
            self.console.complain(f"{name}: {type(error).__name__}: {error}")
            self.failed.append({"step": name, "error": str(error)})

    def _round(self) -> float:
        """Do one round; give the seconds until the next."""
        close_old_connections()
        failures = len(self.failed)
        try:
            self.once()
            more = len(self.failed) == failures and is_work_due()
        except DatabaseError as error:
            self.console.complain(f"The database: {error}")
            more = False
        except Exception as error:
            logger.exception("A round failed; the next one begins as ever.")
            self.console.complain(f"{type(error).__name__}: {error}")
            more = False
        return SOON if more else TICK_SECONDS

    def advance(self, pk: int) -> None:
        if self._did(services.advance_if_due, pk, f"#{pk}", {"id": pk}):
            self.advanced.append(pk)
            self.console.progress(f"#{pk} advanced, {len(self.advanced):,} in all")

    def prepare(self, pk: int) -> None:
        if self._did(services.prepare_if_due, pk, f"File {pk}", {"file": pk}):
            self.console.progress(f"File {pk} checked or drafted")

    def drive(self, pk: int) -> None:
        if self._did(services.drive_if_due, pk, f"Run #{pk}", {"run": pk}):
            self.console.progress(f"Run #{pk} looked at")

    def deliver(self, pk: int) -> None:
        if self._did(services.deliver_if_due, pk, f"Delivery {pk}", {"delivery": pk}):
            self.console.progress(f"Delivery {pk} done")

    def _did(self, work: Callable[[int], None], pk: int, name: str, what: dict[str, Any]) -> bool:
        if self.interruption.wished:
            return False
        try:
            work(pk)
        except Exception as error:  # noqa: BLE001 (an error of one batch must not stop the others)
            self.console.complain(f"{name}: {type(error).__name__}: {error}")
            self.failed.append({**what, "error": str(error)})
            return False
        return True
