"""The steps of `tick`: do what is due in this process, in sequence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import Error as DatabaseError
from django.db import InterfaceError, OperationalError, close_old_connections

from django_claude_batches.management.cli.console import Console
from django_claude_batches.management.cli.graceful_stop import Interruption
from django_claude_batches.sanitize import get_logger
from django_claude_batches.services.audits.audit import audit_due
from django_claude_batches.services.delivery.deliver import deliver_if_due, dispatch_due_deliveries
from django_claude_batches.services.engine import advance_if_due, tick
from django_claude_batches.services.reconciliation.late_arrivals import watch_due
from django_claude_batches.services.retention.purge import purge_due
from django_claude_batches.services.runs.drive import dispatch_due_runs, drive_if_due
from django_claude_batches.services.runs.throttle import submit_pending
from django_claude_batches.services.uploads.confirm import dispatch_due_uploads
from django_claude_batches.services.uploads.prepare import prepare_if_due

logger = get_logger(__name__)

NO_REST = timedelta(0)


@dataclass
class Work:
    """The work of one thread, and its results; an error of one batch does not stop the others.

    Concurrent threads share the lists; `done` and `failures` count what this thread did.
    """

    console: Console
    interruption: Interruption
    advanced: list[int] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)
    done: int = 0
    failures: int = 0

    def everything(self) -> None:
        """Do each step. An error in one does not prevent the others; a lost database connection does."""
        self._runs()
        self._step("batches", lambda: tick(self.advance))
        self._deliveries_and_files()
        self._step("watch", watch_due)
        self._step("audit", audit_due)
        self._step("purge", purge_due)

    def without_accounts(self) -> None:
        """Do each step that calls no server."""
        self._runs()
        self._deliveries_and_files()
        self._step("purge", purge_due)

    def of_account(self, alias: str) -> None:
        """Do each step that calls an account's server."""
        self._step("batches", lambda: tick(self.advance, account=alias))
        self._step("watch", lambda: watch_due(alias))
        self._step("audit", lambda: audit_due(alias))

    def round(self, steps: Callable[[], bool]) -> bool:
        """Do these steps once, despite errors; return whether they report more work to do at once."""
        failures = self.failures
        try:
            close_old_connections()
            return steps() and self.failures == failures
        except DatabaseError as error:
            self.console.complain(f"The database: {error}")
        except Exception as error:
            logger.exception("A round failed; the next one begins as usual.")
            self.console.complain(f"{type(error).__name__}: {error}")
        return False

    def _runs(self) -> None:
        self._step("runs", lambda: dispatch_due_runs(self.drive, rest=NO_REST))
        self._step("queue", self._release)

    def _release(self) -> None:
        self.done += submit_pending()

    def _deliveries_and_files(self) -> None:
        self._step("deliveries", lambda: dispatch_due_deliveries(self.deliver, rest=NO_REST))
        self._step("files", lambda: dispatch_due_uploads(self.prepare))

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
        if self._did(advance_if_due, pk, f"#{pk}", {"id": pk}):
            self.advanced.append(pk)
            self.console.progress(f"#{pk} advanced, {len(self.advanced):,} in all")

    def prepare(self, pk: int) -> None:
        if self._did(prepare_if_due, pk, f"File {pk}", {"file": pk}):
            self.console.progress(f"File {pk} checked or drafted")

    def drive(self, pk: int) -> None:
        if self._did(drive_if_due, pk, f"Run #{pk}", {"run": pk}):
            self.console.progress(f"Run #{pk} looked at")

    def deliver(self, pk: int) -> None:
        if self._did(deliver_if_due, pk, f"Delivery {pk}", {"delivery": pk}):
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
