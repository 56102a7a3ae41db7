"""A process killed at each of its calls to Anthropic: nothing paid twice, nothing lost, nothing stuck.

The emulator is a process too, and its ledger is what counts: how many batches it made, and with which tags.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from django_claude_batches.testing import EmulatorProcess

pytestmark = pytest.mark.process

BATCH = "django_claude_batches_messagebatch"
ATTEMPT = "django_claude_batches_submitattempt"
PAST = "2020-01-01 00:00:00"

PREPARE = """
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from django_claude_batches import services
from tests.making import draft
services.submit(draft(3))
"""

WISH = """
import sys
import django
django.setup()
from django_claude_batches import services
from django_claude_batches.models import MessageBatch
getattr(services, sys.argv[1])(MessageBatch.objects.get())
"""


class Site:
    """A project on a SQLite file, whose work is done by `tick` processes."""

    def __init__(self, root: Path, folder: Path, claude: EmulatorProcess) -> None:
        self.claude = claude
        self.path = folder / "db.sqlite3"
        self.environment = os.environ | {
            "DATABASE_URL": f"sqlite:///{self.path}",
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "PYTHONPATH": str(root),
            "ANTHROPIC_BASE_URL": claude.url,
            "ANTHROPIC_API_KEY": claude.api_key,
        }
        self.python("-c", PREPARE)

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, *command], env=self.environment, stdout=subprocess.DEVNULL)

    def python(self, *command: str) -> None:
        assert self.start(*command).wait(timeout=60) == 0

    def tick(self) -> None:
        """Let every time come and every dead process's lease run out, and do what is due."""
        self.sql(f"UPDATE {BATCH} SET next_action_at = '{PAST}' WHERE next_action_at IS NOT NULL")
        for table in (BATCH, "django_claude_batches_accountstate"):
            self.sql(f"UPDATE {table} SET lease_until = '{PAST}' WHERE lease_until IS NOT NULL")
        self.python("-m", "django", "claude_batches", "tick")

    def sql(self, statement: str) -> list[Any]:
        connection = sqlite3.connect(self.path, timeout=20, isolation_level=None)
        try:
            return connection.execute(statement).fetchall()
        finally:
            connection.close()

    @property
    def state(self) -> str:
        return str(self.sql(f"SELECT state FROM {BATCH}")[0][0])

    def kill_at(self, verb: str, is_there: str) -> None:
        """Kill the process that does the work while this call of it is without an answer."""
        self.claude.fault("slow_answer", on=verb, delay=30)
        self.sql(f"UPDATE {BATCH} SET next_action_at = '{PAST}' WHERE next_action_at IS NOT NULL")
        process = self.start("-m", "django", "claude_batches", "tick")
        give_up_at = time.monotonic() + 30
        while not self.sql(is_there):
            assert process.poll() is None, "it came through"
            assert time.monotonic() < give_up_at
            time.sleep(0.05)
        time.sleep(0.3)
        process.kill()
        process.wait(timeout=10)
        self.claude.clear_faults()


@pytest.fixture
def site(tmp_path: Path, pytestconfig: pytest.Config) -> Iterator[Site]:
    with EmulatorProcess() as claude:
        yield Site(pytestconfig.rootpath, tmp_path, claude)


def up_to_running(site: Site) -> None:
    site.tick()
    assert site.state == "in_progress"


def up_to_ended(site: Site) -> None:
    up_to_running(site)
    site.claude.finish()


def up_to_a_wish_to_cancel(site: Site) -> None:
    up_to_running(site)
    site.python("-c", WISH, "cancel")


def up_to_a_wish_to_delete(site: Site) -> None:
    up_to_ended(site)
    site.tick()
    site.tick()
    site.python("-c", WISH, "delete_remote")


AT_WORK = f"SELECT 1 FROM {BATCH} WHERE lease_token != ''"
CASES: dict[str, tuple[Callable[[Site], object], str]] = {
    "create": (lambda site: None, f"SELECT 1 FROM {ATTEMPT} WHERE sent_at IS NOT NULL"),
    "list": (lambda site: None, f"SELECT 1 FROM {ATTEMPT}"),
    "results": (up_to_ended, AT_WORK),
    "cancel": (up_to_a_wish_to_cancel, AT_WORK),
    "delete": (up_to_a_wish_to_delete, "SELECT 1 FROM django_claude_batches_batchevent WHERE what = 'delete_sent'"),
}


@pytest.mark.parametrize("verb", CASES)
def test_a_killed_process_costs_nothing(site: Site, verb: str) -> None:
    prepare, is_there = CASES[verb]
    prepare(site)
    site.kill_at(verb, is_there)
    for _ in range(4):
        site.tick()
        site.claude.finish()
    assert site.state == "ingested"
    assert site.sql("SELECT COUNT(*), COUNT(DISTINCT request_id) FROM django_claude_batches_batchresult") == [(3, 3)]
    ledger = site.claude.ledger()
    tags = Counter(batch["tag"] for batch in ledger["batches"])
    assert list(tags.values()) == [1]
    creates = [
        request
        for request in ledger["requests"]
        if request["method"] == "POST" and request["path"].endswith("/batches")
    ]
    assert len(creates) == 1
    assert site.sql(f"SELECT COUNT(*) FROM {BATCH} WHERE next_action_at IS NOT NULL") == [(0,)]
