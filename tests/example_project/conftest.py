"""The example project is run as its users run it: by its manage.py, in processes of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MANAGE = Path(__file__).parents[2] / "example_project" / "manage.py"
OF_THE_SUITE = ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "DJANGO_SETTINGS_MODULE")
OF_CLAUDE = ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "ANTHROPIC_WORKSPACE_ID")

Start = Callable[..., "subprocess.Popen[str]"]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A folder of one's own, no service, no key, no terminal."""
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
