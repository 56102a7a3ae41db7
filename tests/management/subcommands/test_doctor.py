from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, current_app

from django_claude_batches import services
from django_claude_batches.management.subcommands.doctor import MARKS
from django_claude_batches.schedule import BEAT_SCHEDULE
from django_claude_batches.services.doctor.report import CheckResult
from django_claude_batches.services.engine import tick
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import draft
from tests.management.conftest import Manage

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def named(settings: Any) -> None:
    settings.CLAUDE_BATCHES = {"KICK": False, "INSTALLATION": "the tests"}
    settings.CELERY_BEAT_SCHEDULE = {**BEAT_SCHEDULE}


@pytest.fixture
def broker_url() -> Iterator[Any]:
    """Set the broker's URL; the fixture gives the function."""
    before = current_app.conf.broker_url

    def put(url: str) -> None:
        current_app.conf.broker_url = url

    yield put
    current_app.conf.broker_url = before


@pytest.fixture
def closed_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        yield taken.getsockname()[1]


def line_of(name: str, out: str) -> str:
    [line] = [line for line in out.splitlines() if line[6:].startswith(f"{name}  ")]
    return line


def test_all_is_well(manage: Manage, claude: ClaudeEmulator) -> None:
    tick(lambda pk: None)
    ran = manage("doctor", terminal=True)
    assert ran.code == 0
    assert ran.out.endswith("No problem found.\n")
    for what in ("the settings", "the database", "account default", "the broker"):
        assert f"Looking at {what}" in ran.err
    lines = ran.out.splitlines()[:-1]
    assert {line[:6] for line in lines} == {"ok    ", "-     "}
    assert len({line.index(words) for line in lines if (words := line[6:].partition("  ")[2].strip())}) == 1
    assert line_of("key of default", ran.out).endswith("ANTHROPIC_API_KEY is accepted.")
    assert line_of("broker", ran.out).endswith("KICK is False: nothing here speaks to one.")


def test_warnings_alone_are_no_failure(manage: Manage, claude: ClaudeEmulator) -> None:
    ran = manage("doctor")
    assert (ran.code, ran.err, "Nothing is in the way" in ran.out) == (0, "", False)
    assert line_of("tick", ran.out).startswith("warn  tick  ")
    [_before, after] = ran.out.split("No tick ever came by. No work is due.\n")
    assert after.lstrip().startswith("What to do: Start beat, and a worker on its queue;")


def test_what_must_be_mended_has_a_code_of_its_own(
    manage: Manage, claude: ClaudeEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-wrong")
    services.submit(draft(1))
    ran = manage("doctor")
    assert (ran.code, ran.err) == (4, "2 problems found.")
    assert line_of("tick", ran.out).startswith("FAIL  ")
    assert line_of("key of default", ran.out).startswith("FAIL  ")
    assert "What to do: Put a key that is valid into ANTHROPIC_API_KEY" in ran.out
    assert "sk-ant-wrong" not in ran.out + ran.err


def test_json(manage: Manage, claude: ClaudeEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-wrong")
    ran = manage("doctor", "--json", "--account", "default")
    assert ran.code == 4
    found, counts = ran.document["findings"], ran.document["counts"]
    assert set(ran.document) == {"findings", "counts"}
    assert {frozenset(one) for one in found} == {frozenset({"name", "about", "verdict", "words", "remedy"})}
    assert counts == {verdict: sum(one["verdict"] == verdict for one in found) for verdict in CheckResult}
    assert counts["failed"] == 1
    [key] = [one for one in found if one["name"] == "key"]
    assert (key["about"], key["verdict"]) == ("default", "failed")
    assert all(one["remedy"] for one in found if one["verdict"] in {"failed", "warning"})


def test_offline(manage: Manage, claude: ClaudeEmulator) -> None:
    ran = manage("doctor", "--offline")
    assert (ran.code, claude.requests) == (0, [])
    assert line_of("listing of default", ran.out).startswith("-  ")


def test_an_account_that_there_is_not(manage: Manage) -> None:
    ran = manage("doctor", "--account", "nobody")
    assert (ran.code, ran.out, "nobody" in ran.err) == (1, "", True)


def test_each_verdict_has_its_mark() -> None:
    assert set(MARKS) == set(CheckResult)


class TestTheBroker:
    @pytest.fixture(autouse=True)
    def kick(self, settings: Any) -> None:
        settings.CLAUDE_BATCHES = {**settings.CLAUDE_BATCHES, "KICK": True}

    def test_one_that_answers(self, manage: Manage, claude: ClaudeEmulator, broker_url: Any) -> None:
        broker_url("memory://")
        ran = manage("doctor", "--offline")
        assert (ran.code, line_of("broker", ran.out)[:6]) == (0, "ok    ")
        assert line_of("broker", ran.out).endswith("localhost// answers.")
        assert line_of("celery", ran.out)[:6] == "ok    "

    def test_without_an_app_it_is_not_the_brokers_fault(self, manage: Manage, claude: ClaudeEmulator) -> None:
        """A process that did not import the project's app gets one that Celery makes."""
        before = current_app._get_current_object()
        Celery("default")
        out = manage("doctor", "--offline").out
        before.set_current()
        assert line_of("celery", out).startswith("warn  celery")
        assert "amqp://guest:**@" in line_of("broker", out)

    @pytest.mark.parametrize("scheme", ["redis", "amqp"])
    def test_one_that_is_down(
        self, manage: Manage, claude: ClaudeEmulator, broker_url: Any, closed_port: int, scheme: str
    ) -> None:
        broker_url(f"{scheme}://user:CANARY@127.0.0.1:{closed_port}/0")
        ran = manage("doctor", "--offline")
        assert (ran.code, "CANARY" in ran.out + ran.err) == (4, False)
        assert line_of("broker", ran.out).startswith("FAIL  ")
        assert f"{scheme}://user:**@127.0.0.1:{closed_port}/0 does not answer." in ran.out
        assert "Connection refused" in ran.out
        assert "What to do: Start it, or set CELERY_BROKER_URL." in ran.out

    @pytest.mark.parametrize("url", ["redis://:CANARY/x@127.0.0.1:1/0", "nosuch://:CANARY@127.0.0.1/"])
    def test_a_url_that_cannot_be_read(self, manage: Manage, claude: ClaudeEmulator, broker_url: Any, url: str) -> None:
        broker_url(url)
        ran = manage("doctor", "--offline")
        assert (ran.code, "CANARY" in ran.out + ran.err) == (4, False)
        assert line_of("broker", ran.out).startswith("FAIL  ")

    def test_settings_that_do_not_say(self, manage: Manage, settings: Any) -> None:
        settings.CLAUDE_BATCHES = {"KIK": True}
        ran = manage("doctor", "--offline")
        assert (ran.code, line_of("broker", ran.out)[:6]) == (4, "-     ")


@pytest.mark.process
@pytest.mark.database  # the lanes that have a driver
def test_a_database_that_is_down(closed_port: int) -> None:
    pytest.importorskip("psycopg")
    ran = subprocess.run(
        [sys.executable, "-m", "django", "claude_batches", "doctor", "--offline", "--settings=tests.settings"],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": f"postgres://u:CANARY@127.0.0.1:{closed_port}/x", "ANTHROPIC_API_KEY": "x"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ran.returncode, "CANARY" in ran.stdout + ran.stderr) == (4, False), ran.stderr
    assert line_of("database of default", ran.stdout).startswith("FAIL  ")
    assert line_of("key of default", ran.stdout).startswith("ok  ")
    assert ran.stderr.splitlines()[-1] == "CommandError: 1 problem found."
