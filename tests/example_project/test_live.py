"""`demo --live` with an emulator at an explicit address instead of the live API."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from django_claude_batches.pricing import bundled
from django_claude_batches.testing import ClaudeEmulator, always
from tests.example_project.conftest import MANAGE, Run
from tests.example_project.test_demo import write
from tests.harness.factories import item

pytestmark = pytest.mark.process

Typing = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def typing(environment: dict[str, str], tmp_path: Path) -> Typing:
    """Run the demo with a key and typed input."""

    def run(*arguments: object, claude: ClaudeEmulator, typed: str) -> subprocess.CompletedProcess[str]:
        address = {"ANTHROPIC_BASE_URL": claude.url, "ANTHROPIC_API_KEY": claude.api_key}
        return subprocess.run(
            [sys.executable, str(MANAGE), "demo", "--live", *map(str, arguments)],
            cwd=tmp_path,
            env={**environment, **address},
            input=typed,
            capture_output=True,
            text=True,
            timeout=100,
        )

    return run


def batches(run: Run) -> list[object]:
    shown: list[object] = json.loads(run("claude_batches", "status", "--json").stdout)["batches"]
    return shown


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("", "this is no terminal. Use --yes to confirm beforehand."),
        ("\n", "3 was not what was typed."),
        ("yes\n", "3 was not what was typed."),
        ("33\n", "3 was not what was typed."),
    ],
)
def test_nothing_is_sent_without_confirmation(
    typing: Typing, run: Run, claude: ClaudeEmulator, typed: str, why: str
) -> None:
    ran = typing(claude=claude, typed=typed)
    assert (ran.returncode, ran.stderr) == (1, f"CommandError: Nothing was sent: {why}\n")
    assert "3 requests, " in ran.stdout
    assert f"would go to {claude.url}, with ANTHROPIC_API_KEY. That is this machine, and not Anthropic" in ran.stdout
    assert f"$0.01 at most by the prices of {bundled().as_of}." in ran.stdout
    assert claude.api_key not in ran.stdout + ran.stderr
    assert claude.requests == []
    assert batches(run) == []


def test_the_most_that_it_costs(typing: Typing, claude: ClaudeEmulator, tmp_path: Path) -> None:
    """Half of 1 USD and 5 USD per million tokens; writing to a cache for an hour costs double."""
    plain, cached = item(0, max_tokens=1000), item(1, max_tokens=2000)
    cached["params"]["cache_control"] = {"type": "ephemeral", "ttl": "1h"}
    sizes = [len(json.dumps(one["params"], separators=(",", ":")).encode()) for one in (plain, cached)]
    usd = (Decimal(sizes[0]) + 2 * Decimal(sizes[1])) / 2_000_000 + Decimal(3000) * 5 / 2_000_000
    ran = typing("--input", write(tmp_path / "requests.jsonl", plain, cached), claude=claude, typed="")
    [shown] = [line for line in ran.stdout.splitlines() if line.startswith("This is billed, ")]
    said = Decimal(shown.removeprefix("This is billed, $").partition(" ")[0])
    assert usd <= said < usd + Decimal("0.01")
    assert "To send them, type their number, 2: " in ran.stdout


def test_without_a_price_nothing_is_sent(typing: Typing, run: Run, claude: ClaudeEmulator, tmp_path: Path) -> None:
    path = write(tmp_path / "requests.jsonl", item(0, model="claude-of-tomorrow"))
    ran = typing("--input", path, "--yes", claude=claude, typed="1\n")
    assert ran.returncode == 1
    assert "Nothing was sent: the price of claude-of-tomorrow is not known" in ran.stderr
    assert (claude.requests, batches(run)) == ([], [])


def test_a_confirmed_batch_is_sent(typing: Typing, no_wait: None) -> None:
    with ClaudeEmulator(seconds=1, replies=always({"tags": ["warm", "soft"]})) as claude:
        url, ran = claude.url, typing("--requests", 2, "--rows", 1, "--processes", 1, claude=claude, typed="2\n")
    assert (ran.returncode, ran.stderr) == (0, "")
    [created] = [request for request in claude.requests if request.method == "POST"]
    assert created.body is not None
    sent = json.loads(created.body)["requests"]
    assert f"2 requests, {len(created.body):,} bytes, would go to {url}" in ran.stdout
    assert len(sent) == 2
    assert re.search(rf'Run #1 "demo" of tag-reviews-live: 2 rows, for {re.escape(url)}\.$', ran.stdout, re.MULTILINE)
    assert re.search(r"^assert +succeeded +\d+ +\d+ +warm, soft *$", ran.stdout, re.MULTILINE)
    assert "2 answers delivered, 0 failed" in ran.stdout
    assert "Ledger: 2 requests, 2 results, 0 missing: balanced." in ran.stdout


def test_it_can_be_confirmed_on_the_command_line(run: Run) -> None:
    """No server answers, so the batch is taken back after a second."""
    nowhere = {"ANTHROPIC_API_KEY": "sk-ant-canary", "ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}
    ran = run("demo", "--live", "--yes", "--requests", 1, "--timeout", 1, **nowhere)
    assert ran.returncode == 1
    assert "1 request, " in ran.stdout
    assert "To send them" not in ran.stdout
    assert ran.stderr.startswith("CommandError: Still ")
    assert " after 1 s. " in ran.stderr
    assert "canary" not in ran.stdout + ran.stderr
