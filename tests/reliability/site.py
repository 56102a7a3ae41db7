"""A site: a project with its own database, an emulator, and the processes of a deployment."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import dj_database_url
from django.core.management import call_command
from django.core.management.color import no_style
from django.db import connections
from django.test import override_settings
from django.utils import timezone

from django_claude_batches.models import (
    AccountState,
    BatchResult,
    DeliveryChunk,
    JobRun,
    MessageBatch,
    OpenListing,
    Outcome,
    SubmitAttempt,
)
from django_claude_batches.models.batch_state import State
from django_claude_batches.testing import EmulatorProcess
from tests.harness.factories import let_ten_minutes_pass
from tests.reliability.project.settings import UNSYNCED

ALIAS = "site"
ROOT = Path(__file__).parents[2]
LONG_AGO = timedelta(days=2)
# The tables that `migrate` fills.
KEPT = {"django_content_type", "auth_permission"}


class EverythingThere:
    """A database router: while a site is open, rows are the site's."""

    def db_for_read(self, model: type, **hints: Any) -> str:
        return ALIAS

    db_for_write = db_for_read

    def allow_relation(self, *rows: Any, **hints: Any) -> bool:
        return True


class Site:
    """While entered, the ORM and the services of the test's own process work on the site's database too."""

    def __init__(self, database_url: str, folder: Path, claude: EmulatorProcess, **variables: str) -> None:
        self.claude, self.folder = claude, folder
        self.database_url = database_url
        self.environment = {
            **os.environ,
            "DATABASE_URL": database_url,
            "DJANGO_SETTINGS_MODULE": "tests.reliability.project.settings",
            "PYTHONPATH": str(ROOT),
            "ANTHROPIC_BASE_URL": claude.url,
            "ANTHROPIC_API_KEY": claude.api_key,
            **variables,
        }
        self._processes: list[subprocess.Popen[bytes]] = []

    @contextmanager
    def open(self) -> Iterator[Site]:
        connections.settings[ALIAS] = connections.configure_settings({ALIAS: database(self.database_url)} | DEFAULT)[
            ALIAS
        ]
        anthropic = {name: self.environment[name] for name in ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY")}
        try:
            with override_settings(DATABASE_ROUTERS=[EverythingThere()]), mock.patch.dict(os.environ, anthropic):
                begin_anew()
                yield self
        finally:
            self.stop()
            connections[ALIAS].close()
            del connections[ALIAS]
            del connections.settings[ALIAS]

    # Processes.

    def start(self, *command: str, **variables: str) -> subprocess.Popen[bytes]:
        """Start a Python process of the site, whose output goes to a file; `stop` ends it."""
        log = (self.folder / f"{len(self._processes)}.log").open("wb")
        process = subprocess.Popen(
            [sys.executable, *command],
            env=self.environment | variables,
            cwd=self.folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        log.close()
        self._processes.append(process)
        return process

    def tick(self, **variables: str) -> subprocess.Popen[bytes]:
        """Start `manage.py claude_batches tick`: a worker without Celery."""
        return self.start("-m", "django", "claude_batches", "tick", **variables)

    def worker(self, *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
        celery = ("-m", "celery", "-A", "tests.reliability.project.celery")
        return self.start(*celery, "worker", "--concurrency=2", "--without-mingle", *arguments, **variables)

    def team(self, *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
        """Start a worker and beat in one process, as small sites do."""
        return self.worker("--beat", f"--schedule={self.folder}/beat-{len(self._processes)}", *arguments, **variables)

    def beat(self, *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
        schedule = f"--schedule={self.folder}/beat-{len(self._processes)}"
        return self.start(
            "-m", "celery", "-A", "tests.reliability.project.celery", "beat", schedule, *arguments, **variables
        )

    def stop(self) -> None:
        """Kill what still runs, with its children."""
        for process in self._processes:
            kill_group(process)
        self._processes.clear()

    def said(self) -> str:
        """Give what the processes wrote, for a failure's message."""
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("*.log")))

    # Time.

    def let_time_come(self) -> None:
        """Make every row due, expire every lease, and make every message to a worker late.

        Do not call it repeatedly: it expires the leases of living processes too.
        """
        self.let_due_times_come()
        past = timezone.now() - LONG_AGO
        for model in (MessageBatch, AccountState, JobRun, DeliveryChunk):
            model._default_manager.exclude(lease_token="").update(lease_until=past)
        for model in (MessageBatch, JobRun, DeliveryChunk):
            model._default_manager.filter(dispatched_at__isnull=False).update(dispatched_at=past)

    def let_the_quiet_period_pass(self) -> None:
        """Age the create calls beyond the quiet period. Only when no process is running."""
        unanswered = SubmitAttempt.objects.filter(outcome__in=[Outcome.OPEN, Outcome.UNCERTAIN])
        unanswered.filter(sent_at__isnull=False).update(sent_at=timezone.now() - timedelta(hours=2))
        OpenListing.objects.update(begun_at=timezone.now() - timedelta(hours=2))
        let_ten_minutes_pass()

    def let_due_times_come(self) -> None:
        for model in (MessageBatch, JobRun, DeliveryChunk):
            rows = model._default_manager.filter(next_action_at__isnull=False)
            rows.update(next_action_at=timezone.now() - LONG_AGO)

    def retry_now(self) -> None:
        """Do all that is due without Celery, and let what runs at Anthropic end."""
        self.let_time_come()
        assert self.tick().wait(timeout=60) == 0, self.said()
        self.claude.finish()

    def until(
        self,
        is_so: Callable[[], bool],
        *,
        seconds: float = 60,
        do: Callable[[], object] = lambda: None,
        pause: float = 0.05,
    ) -> None:
        """Do something over and over until it is so; AssertionError, with what the processes said, after `seconds`."""
        give_up_at = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < give_up_at, f"not so after {seconds:g} s\n{self.state_of_all()}\n{self.said()}"
            do()
            time.sleep(pause)

    def reconnect(self) -> None:
        """Let the test's own process see a server that was restarted."""
        connections[ALIAS].close()

    # What there is.

    def stored(self, batch: MessageBatch) -> int:
        return BatchResult.objects.filter(batch=batch).count()

    def state_of_all(self) -> str:
        rows = MessageBatch.objects.values_list("pk", "state", "last_error", "next_action_at")
        return "\n".join(map(str, rows))

    def is_complete(self, *batches: MessageBatch) -> bool:
        """Whether these batches, or all, are ingested and announced."""
        rows = MessageBatch.objects.filter(pk__in=[batch.pk for batch in batches]) if batches else MessageBatch.objects
        return not rows.exclude(state=State.INGESTED, announced_at__isnull=False).exists()

    def check(self) -> None:
        """Raise AssertionError unless each batch was made once, each request has one result, and no row is stuck.

        What was made, and how often it was asked to, is counted by the emulator.
        """
        ledger = self.claude.ledger()
        made = Counter(batch["tag"] for batch in ledger["batches"] if not batch["stranger"])
        asked = Counter(SubmitAttempt.objects.filter(tag__in=made).values_list("batch_id", flat=True))
        assert set(made.values()) <= {1}, f"two batches of one attempt: {made}"
        assert set(asked.values()) <= {1}, f"paid twice for one row: {asked}\n{self.said()}"
        for batch in MessageBatch.objects.all():
            about = f"{batch}: {batch.state}, {batch.last_error}\n{self.said()}"
            assert batch.state == State.INGESTED, f"stuck: {about}"
            assert batch.next_action_at is None, f"still due: {about}"
            results = BatchResult.objects.filter(batch=batch)
            assert results.count() == batch.request_count, f"lost: {about}"
            by_request = results.values("custom_id" if self._is_adopted(batch) else "request")
            assert by_request.distinct().count() == batch.request_count, f"twice: {about}"
            assert batch.missing_count == 0, f"missing: {about}"

    @staticmethod
    def _is_adopted(batch: MessageBatch) -> bool:
        """Whether it was made elsewhere: then its requests are not known here."""
        return not batch.attempts.exists()


def begin_anew() -> None:
    """Create the tables, or empty them if they exist."""
    connection = connections[ALIAS]
    tables = set(connection.introspection.django_table_names(only_existing=True, include_views=False))
    if MessageBatch._meta.db_table in tables:
        connection.ops.execute_sql_flush(
            connection.ops.sql_flush(no_style(), sorted(tables - KEPT), reset_sequences=True)
        )
    else:
        call_command("migrate", database=ALIAS, verbosity=0, run_syncdb=True)


DEFAULT = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}


def database(url: str) -> dict[str, Any]:
    """Give the settings of a database as tests/settings.py has them."""
    parsed: dict[str, Any] = dict(dj_database_url.parse(url))
    if parsed["ENGINE"].endswith("sqlite3"):
        parsed["OPTIONS"] = {"transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": UNSYNCED}
    if parsed["ENGINE"].endswith("mysql"):
        parsed["OPTIONS"] = {"charset": "utf8mb4"}
    return parsed


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL a process that `Site.start` made, and its children."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, 9)
    process.wait(timeout=20)
