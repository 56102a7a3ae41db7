from __future__ import annotations

from typing import Any

import pytest

from django_claude_batches import services
from django_claude_batches.client import BatchesClient
from django_claude_batches.management.subcommands.adopt import LEFT_OUT
from django_claude_batches.models import MessageBatch, Outcome, State
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import item
from tests.management.conftest import Manage
from tests.management.lost_batches import lose

pytestmark = pytest.mark.django_db


def test_a_batch_made_elsewhere_becomes_a_row(manage: Manage, claude: ClaudeEmulator) -> None:
    remote = BatchesClient(api_key=claude.api_key, base_url=claude.url).create([item(0), item(1)])
    [shown] = manage("adopt", remote["id"], "--json").document["batches"]
    assert (shown["anthropic_id"], shown["state"], shown["request_count"]) == (remote["id"], "in_progress", 2)
    again = manage("adopt", remote["id"])
    assert (again.code, MessageBatch.objects.count()) == (0, 1)


def test_a_lost_batch_is_claimed_for_its_row(manage: Manage, claude: ClaudeEmulator, batch: MessageBatch) -> None:
    services.advance(services.submit(batch))
    remote_id = batch.anthropic_id
    MessageBatch.objects.filter(pk=batch.pk).update(state=State.UNCERTAIN, anthropic_id=None)
    batch.attempts.update(remote_id=None, outcome=Outcome.UNCERTAIN)
    early = manage("adopt", remote_id, "--for-batch", batch.pk)
    assert (early.code, "Try again when it has ended" in early.err) == (1, True)
    claude.finish()
    assert manage("adopt", remote_id, "--for-batch", batch.pk).code == 0
    batch.refresh_from_db()
    assert (batch.anthropic_id, batch.state) == (remote_id, State.IN_PROGRESS)


def test_an_unknown_id_is_told_in_the_apis_words(manage: Manage, claude: ClaudeEmulator) -> None:
    ran = manage("adopt", "msgbatch_unknown")
    assert ran.code == 1
    assert ran.err.startswith("Anthropic answered 404 not_found_error")


def test_an_account_has_no_say_where_the_row_has_one(manage: Manage, batch: MessageBatch) -> None:
    ran = manage("adopt", "msgbatch_x", "--for-batch", batch.pk, "--account", "default")
    assert "not allowed with argument" in ran.err


def test_what_does_not_wait_for_a_batch(manage: Manage, claude: ClaudeEmulator, batch: MessageBatch) -> None:
    ran = manage("adopt", "msgbatch_x", "--for-batch", batch.pk)
    assert (ran.code, "Cannot adopt for batch" in ran.err) == (1, True)


def test_all_takes_over_what_is_listed_but_what_may_be_ours(manage: Manage, claude: ClaudeEmulator) -> None:
    client = BatchesClient(api_key=claude.api_key, base_url=claude.url)
    elsewhere = [client.create([item(number) for number in range(count)])["id"] for count in (1, 2)]
    lost = lose(claude)
    maybe = client.create([item(number) for number in range(3)])["id"]
    client.close()
    ran = manage("adopt", "--all", "--json")
    assert ran.code == 0
    assert {shown["anthropic_id"] for shown in ran.document["batches"]} == set(elsewhere)
    assert {left["id"] for left in ran.document["left_out"]} == {claude.batches[2].id, maybe}
    assert {left["why"] for left in ran.document["left_out"]} == {LEFT_OUT}
    assert MessageBatch.objects.filter(anthropic_id__isnull=False).count() == 2
    again = manage("adopt", "--all")
    assert "Adopted 0 batches." in again.out
    assert f"Left out {maybe}: it may be an unconfirmed batch of ours" in again.out
    lost.refresh_from_db()
    assert lost.state == State.UNCERTAIN


def test_all_of_another_account(manage: Manage, claude: ClaudeEmulator, settings: Any) -> None:
    claude.add_key("sk-ant-second", workspace_id="wrkspc_second")
    settings.CLAUDE_BATCHES = {"ACCOUNTS": {"second": {"API_KEY": "sk-ant-second", "BASE_URL": claude.url}}}
    BatchesClient(api_key=claude.api_key, base_url=claude.url).create([item(0)])
    remote = BatchesClient(api_key="sk-ant-second", base_url=claude.url).create([item(0)])
    [shown] = manage("adopt", "--all", "--account", "second", "--json").document["batches"]
    assert (shown["anthropic_id"], shown["account"]) == (remote["id"], "second")


def test_all_is_for_no_batch_of_ours(manage: Manage, batch: MessageBatch) -> None:
    ran = manage("adopt", "--all", "--for-batch", batch.pk)
    assert (ran.code, ran.err) == (2, "argument --for-batch: not allowed with argument --all")
