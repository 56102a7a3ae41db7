"""The steps of `tick`: what is due is done in this process, one thing after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import Error as DatabaseError
from django.db import InterfaceError, OperationalError, close_old_connections

from django_claude_batches import services
from django_claude_batches.management.cli.console import Console
from django_claude_batches.management.cli.graceful_stop import Interruption
from django_claude_batches.sanitize import get_logger

logger = get_logger(__name__)

NO_REST = timedelta(0)


@dataclass
class Work:
    """What one thread does, and what came of it; an error of one batch does not stop the others.

    Threads that work beside each other share the lists; `done` and `failures` count what this one did.
    """

    console: Console
    interruption: Interruption
    advanced: list[int] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)
    done: int = 0
    failures: int = 0

    def everything(self) -> None:
        """Do each step. An error in one does not keep the others from being done; a lost database does."""
        self._runs()
        self._step("batches", lambda: services.tick(self.advance))
        self._deliveries_and_files()
        self._step("watch", services.watch_due)
        self._step("audit", services.audit_due)
        self._step("purge", services.purge_due)

    def without_accounts(self) -> None:
        """Do each step that asks no server."""
        self._runs()
        self._deliveries_and_files()
        self._step("purge", services.purge_due)

    def of_account(self, alias: str) -> None:
        """Do each step that asks an account's server."""
        self._step("batches", lambda: services.tick(self.advance, account=alias))
        self._step("watch", lambda: services.watch_due(alias))
        self._step("audit", lambda: services.audit_due(alias))

    def round(self, steps: Callable[[], bool]) -> bool:
        """Do these steps once, whatever goes wrong; return whether there is more to do at once, as they say."""
        failures = self.failures
        try:
            close_old_connections()
            return steps() and self.failures == failures
        except DatabaseError as error:
            self.console.complain(f"The database: {error}")
        except Exception as error:
            logger.exception("A round failed; the next one begins as ever.")
            self.console.complain(f"{type(error).__name__}: {error}")
        return False

    def _runs(self) -> None:
        self._step("runs", lambda: services.dispatch_due_runs(self.drive, rest=NO_REST))
        self._step("queue", self._release)

    def _release(self) -> None:
        self.done += services.submit_pending()

    def _deliveries_and_files(self) -> None:
        self._step("deliveries", lambda: services.dispatch_due_deliveries(self.deliver, rest=NO_REST))
        self._step("files", lambda: services.dispatch_due_uploads(self.prepare))

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
            self._note({"step": name, "error": str(error)})

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
            self._note({**what, "error": str(error)})
            return False
        self.done += 1
        return True

    def _note(self, failure: dict[str, Any]) -> None:
        self.failures += 1
        self.failed.append(failure)
