from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.models import AccountState, MessageBatch, State
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import in_state, running
from tests.management.conftest import Manage

ROOT = Path(__file__).parents[3]
MONTH = timedelta(days=30)
DAY = timedelta(days=1)


@pytest.fixture
def old(db: None, claude: ClaudeEmulator, settings: Any) -> MessageBatch:
    """A complete batch of three, of which nothing is to be kept."""
    settings.CLAUDE_BATCHES = {
        "KICK": False,
        "RETENTION": {"REQUEST_BODIES": MONTH, "RESULT_BODIES": MONTH, "REMOTE_COPIES": 7 * DAY},
    }
    batch = running()
    claude.finish()
    services.advance(batch)
    MessageBatch.objects.update(announced_at=timezone.now() - MONTH - DAY)
    return batch


@pytest.mark.django_db
def test_without_the_setting_all_is_kept(manage: Manage) -> None:
    ran = manage("purge")
    assert (ran.code, ran.out) == (0, 'CLAUDE_BATCHES["RETENTION"] is not set: all is kept for ever.\n')
    assert manage("purge", "--dry-run", "--json").document == {"dry_run": True, "accounts": []}


def test_a_dry_run_says_what_would_go(manage: Manage, old: MessageBatch) -> None:
    ran = manage("purge", "--dry-run")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == (
        "Account default, would go:\n  3 request bodies of 1 batch\n  3 result bodies of 1 batch\n"
        "  1 copy at Anthropic\n"
    )
    assert not old.requests.filter(params_text="").exists()
    assert "Account default: 6 rows counted" in manage("purge", "--dry-run", terminal=True).err


def test_a_dry_run_for_a_script(manage: Manage, old: MessageBatch) -> None:
    document = manage("purge", "--dry-run", "--account", "default", "--json").document
    [account] = document["accounts"]
    assert (document["dry_run"], account["request_bodies"]["rows"], account["remote_copies"]["batches"]) == (True, 3, 1)
    assert not MessageBatch.objects.filter(delete_requested_at__isnull=False).exists()


def test_what_went_is_said(manage: Manage, old: MessageBatch) -> None:
    in_state(State.LOST, missing_count=1, drafted_at=timezone.now() - 2 * MONTH)
    ran = manage("purge", "--account", "default", terminal=True)
    assert ran.code == 0
    assert ran.out == (
        "Account default, gone:\n  3 request bodies of 1 batch; kept for 1 batch that still need them\n"
        "  3 result bodies of 2 batches\n  1 copy at Anthropic (a worker deletes them)\n"
    )
    assert "Account default: 6 rows emptied" in ran.err
    assert old.requests.filter(params_text="").count() == 3
    shown = manage("status", old.pk, "--json").document["batches"][0]
    assert shown["request_bodies_purged_at"] is not None
    assert shown["result_bodies_purged_at"] is not None


def test_json(manage: Manage, old: MessageBatch) -> None:
    document = manage("purge", "--json").document
    bodies = {"batches": 1, "rows": 3, "kept": 0}
    copies = {"batches": 1, "rows": 0, "kept": 0}
    assert document == {
        "dry_run": False,
        "accounts": [
            {
                "account": "default",
                "request_bodies": bodies,
                "result_bodies": bodies,
                "remote_copies": copies,
                "leased": 0,
                "is_complete": True,
                "problem": "",
            }
        ],
    }


def test_one_at_work_is_named(manage: Manage, old: MessageBatch) -> None:
    MessageBatch.objects.update(lease_token="theirs", lease_until=timezone.now() + DAY)
    ran = manage("purge")
    assert (ran.code, old.requests.filter(params_text="").count()) == (0, 0)
    assert ran.err == "Left for later, because work is going on: 2 batches.\n"


def test_a_copy_of_the_database_says_so(manage: Manage, old: MessageBatch, settings: Any) -> None:
    AccountState.objects.update_or_create(alias="default", defaults={"installation": "production"})
    settings.CLAUDE_BATCHES = {**settings.CLAUDE_BATCHES, "INSTALLATION": "staging"}
    ran = manage("purge")
    assert (ran.code, "it may be a copy" in ran.err) == (1, True)
    assert ran.err.endswith("Not purged to the end: default.")


def test_an_account_that_there_is_not(manage: Manage, old: MessageBatch) -> None:
    ran = manage("purge", "--account", "nobody")
    assert (ran.code, "nobody" in ran.err) == (1, True)


def test_tick_purges_once_a_day(manage: Manage, old: MessageBatch) -> None:
    assert manage("tick").code == 0
    old.refresh_from_db()
    assert old.request_bodies_purged_at is not None
    MessageBatch.objects.update(request_bodies_purged_at=None)
    assert manage("tick").code == 0
    old.refresh_from_db()
    assert old.request_bodies_purged_at is None


PREPARE = """
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from datetime import timedelta
from django.utils import timezone
from django_claude_batches.models import MessageBatch, State
from tests.harness.factories import draft
draft(2500)
long_ago = timezone.now() - timedelta(days=31)
MessageBatch.objects.update(state=State.ABANDONED, drafted_at=long_ago)
"""

PURGE = """
import sys, time
from datetime import timedelta
import django
from django.conf import settings
settings.CLAUDE_BATCHES = {"KICK": False, "RETENTION": {"REQUEST_BODIES": timedelta(days=30)}}
django.setup()
from django_claude_batches import services
def wait(report):
    if sys.argv[1] == "stop":
        print("purging", flush=True)
        time.sleep(60)
print(services.purge(progress=wait))
"""


@pytest.mark.process
def test_a_killed_process_leaves_what_the_next_one_goes_on_with(tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite3"
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "DATABASE_URL": f"sqlite:///{path}"}

    def python(*command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", *command], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        )

    def rows(statement: str) -> Any:
        connection = sqlite3.connect(path, timeout=20, isolation_level=None)
        try:
            return connection.execute(statement.format("django_claude_batches_")).fetchone()
        finally:
            connection.close()

    with python(PREPARE) as prepare:
        assert prepare.wait(timeout=60) == 0
    with python(PURGE, "stop") as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "purging\n"
        killed.kill()
    left = "SELECT COUNT(*) FROM {}batchrequest WHERE params != ''"
    marked = "SELECT request_bodies_purged_at IS NOT NULL, lease_token != '' FROM {}messagebatch"
    assert (rows(left), rows(marked)) == ((1500,), (0, 1))
    with python(PURGE, "on") as leased:
        assert "leased=1" in leased.communicate(timeout=60)[0]
    assert rows(left) == (1500,)
    rows("UPDATE {}messagebatch SET lease_until = '2020-01-01 00:00:00'")
    with python(PURGE, "on") as resumed:
        assert "rows=1500" in resumed.communicate(timeout=60)[0]
    assert (rows(left), rows(marked)) == ((0,), (1, 0))
