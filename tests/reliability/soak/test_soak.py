"""A short soak; the long one is a command, `python -m tests.reliability.soak --batches 2000`."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.reliability.site import ROOT

pytestmark = pytest.mark.process


@pytest.mark.fault("Random faults, kills, strangers", "`python -m tests.reliability.soak`")
def test_a_short_soak(database_url: str, database: str, trial: int) -> None:
    command = [
        sys.executable,
        "-m",
        "tests.reliability.soak",
        "--batches=25",
        "--minutes=0.25",
        f"--seed={trial + 1}",
        f"--db={database_url}",
    ]
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "tests.reliability.project.settings",
        "DATABASE_URL": database_url,
    }
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=110)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "| **Duplicates paid** | 0 |" in ended.stdout
