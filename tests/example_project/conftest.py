"""Run the example project as its users do: by its manage.py, in separate processes."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

MANAGE = Path(__file__).parents[2] / "example_project" / "manage.py"
MAKE_DUE = """
UPDATE django_claude_batches_messagebatch SET next_action_at = '2000-01-01 00:00:00'
WHERE state = 'in_progress' AND next_action_at > '2000-01-02'
"""

OF_THE_SUITE = ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "DJANGO_SETTINGS_MODULE")
OF_CLAUDE = ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "ANTHROPIC_WORKSPACE_ID")

Start = Callable[..., "subprocess.Popen[str]"]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a process with an empty folder and without services, key and terminal."""
    inherited = {name: value for name, value in os.environ.items() if name not in (*OF_THE_SUITE, *OF_CLAUDE)}
    return {**inherited, "DEMO_VAR": str(tmp_path / "var"), "CI": "true", "DEMO_TICK_SECONDS": "1"}


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Start:
    def popen(*arguments: object, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(MANAGE), *map(str, arguments)],
            cwd=tmp_path,
            env={**environment, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return popen


@pytest.fixture
def run(start: Start) -> Run:
    def finish(*arguments: object, **variables: Any) -> subprocess.CompletedProcess[str]:
        with start(*arguments, **variables) as process:
            out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    return finish


@pytest.fixture
def no_wait(tmp_path: Path) -> Iterator[None]:
    """Make running batches due at the next tick: the first poll is otherwise due after 30 seconds."""
    database, is_over = tmp_path / "var" / "db.sqlite3", threading.Event()

    def age() -> None:
        while not is_over.wait(0.3):
            with contextlib.suppress(sqlite3.OperationalError):  # it does not exist yet, or is locked
                if database.exists():
                    with contextlib.closing(sqlite3.connect(database, timeout=1, isolation_level=None)) as connection:
                        connection.execute(MAKE_DUE)

    thread = threading.Thread(target=age)
    thread.start()
    yield
    is_over.set()
    thread.join()
