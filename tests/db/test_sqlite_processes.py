"""Several processes or connections use one SQLite file: the default database of new projects, which locks most."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path, pytestconfig: pytest.Config) -> Start:
    environment = os.environ | {
        "DATABASE_URL": f"sqlite:///{tmp_path}/db.sqlite3",
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "PYTHONPATH": str(pytestconfig.rootpath),
    }

    def popen(code: str, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-W", "error", "-c", code, *arguments]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return popen


ACQUIRE = """
import sys, time
import django
django.setup()
from django_claude_batches.models import MessageBatch
acquired = 0
time.sleep(max(0, float(sys.argv[1]) - time.time()))
for pk in map(int, sys.argv[2].split(",")):
    acquired += MessageBatch.objects.acquire(pk) is not None
print(acquired)
"""

PREPARE = """
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from tests.harness.factories import draft
print(*[draft(1).pk for _ in range(60)], sep=",")
"""


LOCKED = """
import sqlite3, sys
import django
django.setup()
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django_claude_batches import services
from django_claude_batches.models import BatchRequest, BatchResult, MessageBatch
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import draft, running
connection.settings_dict["OPTIONS"]["timeout"] = 0.2
call_command("migrate", verbosity=0)
lock = sqlite3.connect(sys.argv[1], isolation_level=None)

def locked(do, error, words):
    lock.execute("BEGIN IMMEDIATE")
    try:
        do()
    except error as raised:
        assert words in str(raised), raised
    else:
        raise AssertionError("nothing was raised")
    finally:
        lock.execute("ROLLBACK")

with ClaudeEmulator() as claude:
    batch = running(3)
    claude.finish()
    locked(lambda: draft(3), OperationalError, "database is locked")
    locked(lambda: services.submit(batch), OperationalError, "database is locked")
    locked(lambda: services.advance(batch), OperationalError, "database is locked")
    command = lambda: call_command("claude_batches", "draft", sys.argv[2])
    locked(command, CommandError, "The database: database is locked")
    assert (MessageBatch.objects.count(), BatchRequest.objects.count(), BatchResult.objects.count()) == (1, 3, 0)
    services.advance(batch)
    assert (batch.state, BatchResult.objects.count()) == ("ingested", 3)
lock.close()
print("nothing lost")
"""


def test_a_locked_database_raises_and_loses_nothing(tmp_path: Path, start: Start) -> None:
    requests = tmp_path / "requests.jsonl"
    requests.write_text('{"custom_id": "a", "params": {"model": "claude-haiku-4-5"}}\n')
    output, errors = start(LOCKED, str(tmp_path / "db.sqlite3"), str(requests)).communicate(timeout=60)
    assert (output, errors) == ("nothing lost\n", "")


def test_each_row_is_leased_once(start: Start) -> None:
    prepared, errors = start(PREPARE).communicate(timeout=60)
    assert not errors
    processes = [start(ACQUIRE, "0", prepared.strip()) for _ in range(3)]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [errors for _, errors in outputs if errors] == []
    assert sum(int(acquired) for acquired, _ in outputs) == 60
