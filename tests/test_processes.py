"""Several processes at one row, on a SQLite file: the newcomer's database, and the one that locks most."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

CLAIM = """
import sys, time
import django
django.setup()
from django_claude_batches.models import MessageBatch
claims = 0
time.sleep(max(0, float(sys.argv[1]) - time.time()))
for pk in map(int, sys.argv[2].split(",")):
    claims += MessageBatch.objects.claim(pk) is not None
print(claims)
"""

PREPARE = """
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from tests.making import draft
print(*[draft(1).pk for _ in range(60)], sep=",")
"""


def test_each_row_is_claimed_once(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    environment = os.environ | {
        "DATABASE_URL": f"sqlite:///{tmp_path}/db.sqlite3",
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "PYTHONPATH": str(pytestconfig.rootpath),
    }

    def start(code: str, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-W", "error", "-c", code, *arguments]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    prepared, errors = start(PREPARE).communicate(timeout=60)
    assert not errors
    processes = [start(CLAIM, "0", prepared.strip()) for _ in range(3)]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [errors for _, errors in outputs if errors] == []
    assert sum(int(claims) for claims, _ in outputs) == 60
