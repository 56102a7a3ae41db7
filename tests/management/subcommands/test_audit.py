from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.management.subcommands.audit import TITLES
from django_claude_batches.models import AccountState, MessageBatch, State
from django_claude_batches.services.audits.findings import FindingKind
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import running
from tests.management.conftest import Manage

pytestmark = pytest.mark.django_db


def test_nothing_to_find(manage: Manage, claude: ClaudeEmulator) -> None:
    running()
    ran = manage("audit")
    assert (ran.code, ran.out, ran.err) == (0, "Account default: 1 batch at Anthropic, 0 findings.\n", "")


def test_batches_of_others_are_counted(manage: Manage, claude: ClaudeEmulator, settings: Any) -> None:
    settings.CLAUDE_BATCHES = {"KICK": False, "ACCOUNTS": {"default": {"SHARED": True}}}
    running(), claude.add_stranger(2)
    ran = manage("audit")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == "Account default: 2 batches at Anthropic, 0 findings. 1 has no row here: the account is SHARED.\n"


def test_each_finding_says_what_it_is_and_what_to_do(manage: Manage, claude: ClaudeEmulator) -> None:
    stranger = claude.add_stranger(2)
    batch = running()
    claude.finish()
    services.advance(batch)
    MessageBatch.objects.filter(pk=batch.pk).update(errored_count=4)
    ran = manage("audit", "--account", "default")
    assert (ran.code, ran.err) == (4, "2 findings of the audit: see what to do.")
    first, here, adopt, differs, look = ran.out.splitlines()
    assert first == "Account default: 2 batches at Anthropic, 2 findings."
    assert here.startswith(f"  Unknown here: {stranger}, made at ")
    assert adopt.startswith("    What to do: If it is this project's")
    assert differs.startswith(f"  Counts differ: #{batch.pk} {batch.anthropic_id} is final here (Complete)")
    assert look.startswith("    What to do: Were rows deleted")


def test_json_and_findings_that_need_nobody(manage: Manage, claude: ClaudeEmulator) -> None:
    batch = running()
    claude.finish()
    services.advance(services.delete_remote(batch))
    assert batch.remote_deleted_at is not None
    long_ago = timezone.now() - timedelta(days=40)
    MessageBatch.objects.filter(pk=batch.pk).update(
        created_at=long_ago, remote_deleted_at=None, delete_requested_at=None
    )
    ran = manage("audit", "--json")
    assert (ran.code, batch.state) == (0, State.INGESTED)
    [account] = ran.document["accounts"]
    assert (account["account"], account["listed"], account["is_complete"], account["needing"]) == (
        "default",
        0,
        True,
        0,
    )
    [finding] = account["findings"]
    assert (finding["kind"], finding["batch"], finding["remote_id"], finding["needs_a_person"]) == (
        *("unknown_there", batch.pk, batch.anthropic_id),
        False,
    )


def test_an_account_that_cannot_be_audited_is_named_and_the_others_are(
    manage: Manage, claude: ClaudeEmulator, settings: Any
) -> None:
    account = {"API_KEY": "sk-ant-wrong", "BASE_URL": claude.url}
    settings.CLAUDE_BATCHES = {"KICK": False, "ACCOUNTS": {"broken": account}}
    running()
    ran = manage("audit")
    assert ran.code == 1
    assert "Account broken could not be audited to the end: Anthropic answered 401" in ran.err
    assert ran.err.endswith("Not audited to the end: broken.")
    assert "Account default: 1 batch at Anthropic, 0 findings." in ran.out


def test_a_copy_of_the_database_says_so(manage: Manage, claude: ClaudeEmulator, settings: Any) -> None:
    AccountState.objects.create(alias="default", installation="production")
    settings.CLAUDE_BATCHES = {"KICK": False, "INSTALLATION": "staging"}
    ran = manage("audit")
    assert (ran.code, "it may be a copy" in ran.err, len(claude.requests)) == (1, True, 0)


def test_an_account_that_there_is_not(manage: Manage) -> None:
    ran = manage("audit", "--account", "nobody")
    assert (ran.code, "nobody" in ran.err) == (1, True)


def test_nobody_uses_it(manage: Manage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    ran = manage("audit")
    assert (ran.code, ran.out) == (0, "No account has a batch or a key.\n")


def test_too_many_are_counted_and_a_terminal_sees_how_far_it_is(manage: Manage, claude: ClaudeEmulator) -> None:
    for _ in range(1001):
        claude.add_stranger(1)
    ran = manage("audit", terminal=True)
    assert (ran.code, ran.out.count("Unknown here"), "And 901 more of these kinds." in ran.out) == (4, 100, True)
    assert "Account default: 1,000 batches compared" in ran.err
    assert ran.err.endswith("1,001 findings of the audit: see what to do.")


def test_each_kind_has_its_title() -> None:
    assert set(TITLES) == set(FindingKind)


def test_tick_audits_once_a_day(manage: Manage, claude: ClaudeEmulator) -> None:
    claude.add_stranger(1)
    assert manage("tick").code == 0
    assert AccountState.objects.get().audit_findings == 1
    calls = len(claude.requests)
    assert manage("tick").code == 0
    assert len(claude.requests) == calls
