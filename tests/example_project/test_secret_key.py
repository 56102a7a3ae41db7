"""The public key is only for `runserver` on a developer's machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2] / "example_project"
KNOWN = "not a secret"


def python(code: str, environment: dict[str, str], *arguments: str, **variables: str) -> str:
    found = {"PYTHONPATH": str(PROJECT), "DJANGO_SETTINGS_MODULE": "config.settings"}
    ran = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**{k: v for k, v in environment.items() if k != "SECRET_KEY"}, **found, **variables},
        capture_output=True,
        text=True,
    )
    return ran.stdout + ran.stderr


SHOW = "from django.conf import settings; print(settings.SECRET_KEY)"


def test_without_debug_it_is_of_the_environment(environment: dict[str, str]) -> None:
    assert python(SHOW, environment, SECRET_KEY="mine") == "mine\n"
    found = {python(SHOW, environment) for _process in range(2)}
    assert len(found) == 2
    assert not [key for key in found if KNOWN in key]


@pytest.mark.slow
def test_only_runserver_has_the_known_one(environment: dict[str, str]) -> None:
    assert KNOWN in python(SHOW, environment, "runserver")
    assert python(SHOW, environment, "runserver", SECRET_KEY="mine") == "mine\n"


@pytest.mark.slow
def test_a_web_server_asks_for_it(environment: dict[str, str]) -> None:
    assert "ImproperlyConfigured: Set SECRET_KEY" in python("import config.wsgi", environment)
    assert python("import config.wsgi", environment, SECRET_KEY="mine") == ""
