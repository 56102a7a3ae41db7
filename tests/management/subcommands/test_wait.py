from __future__ import annotations

import os
import signal

import pytest

from django_claude_batches import services
from django_claude_batches.models import MessageBatch, State
from django_claude_batches.signals import batch_submitted
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import draft
from tests.management.conftest import Manage
from tests.management.subcommands.test_batch_actions import put

pytestmark = pytest.mark.django_db


def test_it_does_what_is_due_until_all_are_complete(manage: Manage) -> None:
    one, two = services.submit(draft()), services.submit(draft())
    with ClaudeEmulator(seconds=0.3):
        ran = manage("wait", one.pk, two.pk, "--interval", "0.1", "--timeout", "60")
    assert ran.code == 0
    assert ran.out.count("Complete") == 2
    assert f"#{one.pk} Running at Anthropic: 3 processing; #{two.pk}" in ran.err


def test_json_tells_the_end(manage: Manage, batch: MessageBatch) -> None:
    services.submit(batch)
    with ClaudeEmulator(seconds=0):
        ran = manage("wait", batch.pk, "--interval", "0.1", "--json")
    assert [shown["state"] for shown in ran.document["batches"]] == ["ingested"]


def test_the_time_is_over(manage: Manage, claude: ClaudeEmulator, batch: MessageBatch) -> None:
    services.submit(batch)
    ran = manage("wait", batch.pk, "--timeout", "0", "--json")
    assert ran.code == 3
    assert "it continues" in ran.err
    assert ran.document["batches"][0]["state"] == "in_progress"


def test_a_terminal_has_one_line(manage: Manage, claude: ClaudeEmulator, batch: MessageBatch) -> None:
    services.submit(batch)
    ran = manage("wait", batch.pk, "--timeout", "0", terminal=True)
    assert ran.err.startswith(f"\r\x1b[K#{batch.pk} Running at Anthropic: ")


def test_ctrl_c_lets_the_batch_in_hand_be_sent_first(
    manage: Manage, claude: ClaudeEmulator, batch: MessageBatch
) -> None:
    def interrupt(**_kwargs: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    services.submit(batch)
    batch_submitted.connect(interrupt)
    try:
        ran = manage("wait", batch.pk, "--interval", "60")
    finally:
        batch_submitted.disconnect(interrupt)
    batch.refresh_from_db()
    assert (ran.code, batch.state) == (3, State.IN_PROGRESS)
    assert batch.lease_token == ""


def test_a_draft_is_not_waited_for(manage: Manage, claude: ClaudeEmulator, batch: MessageBatch) -> None:
    other = services.submit(draft())
    ran = manage("wait", other.pk, batch.pk)
    assert (ran.code, "it is not submitted" in ran.err) == (1, True)
    assert claude.batches == []


def test_an_unconfirmed_batch_needs_a_person(manage: Manage, claude: ClaudeEmulator, batch: MessageBatch) -> None:
    put(batch, State.UNCERTAIN)
    ran = manage("wait", batch.pk)
    assert (ran.code, "Needs a person" in ran.err) == (4, True)


def test_no_key(manage: Manage, batch: MessageBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    services.submit(batch)
    ran = manage("wait", batch.pk)
    assert ran.code == 1
    assert ran.err.startswith('No API key for account "default". Set ANTHROPIC_API_KEY')


def test_a_refused_key_ends_the_wait_and_is_not_shown(
    manage: Manage, claude: ClaudeEmulator, batch: MessageBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-canary")
    services.submit(batch)
    ran = manage("wait", batch.pk)
    assert ran.code == 4
    assert "Account default is paused, so nothing is sent: Anthropic answered 401" in ran.err
    assert "`claude_batches resume default`" in ran.err
    assert "canary" not in ran.out + ran.err


@pytest.mark.parametrize("seconds", ["-1", "nan", "inf", "soon"])
def test_no_number_of_seconds(manage: Manage, batch: MessageBatch, seconds: str) -> None:
    ran = manage("wait", batch.pk, "--timeout", seconds)
    assert ran.code != 0
    assert "--timeout" in ran.err
