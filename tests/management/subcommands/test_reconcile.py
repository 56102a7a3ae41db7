from __future__ import annotations

import os
import signal
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.client import BatchesClient
from django_claude_batches.models import MessageBatch, State
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import item, let_ten_minutes_pass, running
from tests.harness.relay import Exchange, Relay, lose_request
from tests.management.conftest import Manage
from tests.management.lost_batches import lose

pytestmark = pytest.mark.django_db


def test_what_was_proved_is_told(manage: Manage, claude: ClaudeEmulator) -> None:
    batch = lose(claude)
    claude.finish()
    ran = manage("reconcile", batch.pk, "--json")
    [shown] = ran.document["batches"]
    assert (ran.code, shown["state"], shown["anthropic_id"]) == (0, "ingested", claude.batches[0].id)
    assert (shown["search"], ran.document["failed"]) == (None, [])


def test_what_is_open_is_told_with_its_candidates_and_why(manage: Manage, claude: ClaudeEmulator) -> None:
    before = running(1)
    batch = lose(claude)
    remote_id = claude.batches[1].id
    ran = manage("reconcile", f"#{batch.pk}")
    assert ran.code == 4
    assert ran.err.endswith(f"Not settled yet: {batch}.")
    for text in (
        f"#{batch.pk}: Sent, not confirmed, 3 requests.",
        f"before it: {before.anthropic_id}. Full listings without a candidate: 0.",
        f"Candidate: {remote_id} (made at 20",
        "3 requests). Not confirmed yet: it is in_progress: only its results can prove whose it is.",
    ):
        assert text in ran.out
    assert manage("reconcile").code == 0
    [shown] = manage("reconcile", "--json").document["batches"]
    [candidate] = shown["search"]["candidates"]
    assert (candidate["id"], candidate["requests"], candidate["status"]) == (remote_id, 3, "in_progress")
    assert shown["search"]["baseline_id"] == before.anthropic_id
    assert shown["search"]["body_bytes"] == batch.attempts.get().body_bytes
    assert shown["search"]["watch_until"] > shown["search"]["sent_at"]


def test_what_was_excluded_is_told(manage: Manage, claude: ClaudeEmulator) -> None:
    batch = lose(claude, how=lose_request)
    client = BatchesClient(api_key=claude.api_key, base_url=claude.url)
    stranger = client.create([item(number) for number in range(3)])["id"]
    client.close()
    claude.finish()
    manage("reconcile")
    let_ten_minutes_pass()
    ran = manage("reconcile")
    assert f"Excluded, because their results do not have this batch's tag: {stranger}." in ran.out
    assert "Full listings without a candidate: 0." in ran.out, "none after the quiet period"
    assert manage("status", batch.pk).code == 4


@pytest.mark.parametrize(("setting", "code", "state"), [("hold", 4, State.HELD), ("retry", 0, State.IN_PROGRESS)])
def test_what_was_not_received_is_held_or_sent_again(
    manage: Manage, claude: ClaudeEmulator, settings: Any, setting: str, code: int, state: State
) -> None:
    settings.CLAUDE_BATCHES = {"ON_NOT_CREATED": setting}
    batch = lose(claude, how=lose_request)
    batch.attempts.update(sent_at=timezone.now() - timedelta(hours=2))
    manage("reconcile", batch.pk)
    let_ten_minutes_pass()
    ran = manage("reconcile", batch.pk)
    batch.refresh_from_db()
    assert (ran.code, batch.state) == (code, state)
    assert ("Full listings without a candidate: 2." in ran.out) == (state == State.HELD)
    assert len(claude.batches) == (0 if state == State.HELD else 1)


def test_all_unconfirmed_ones_and_no_others(manage: Manage, claude: ClaudeEmulator, batch: MessageBatch) -> None:
    assert manage("reconcile").out == "No batch is unconfirmed.\n"
    services.submit(batch)
    pks = [lose(claude).pk for _ in range(2)]
    assert [shown["id"] for shown in manage("reconcile", "--json").document["batches"]] == pks
    batch.refresh_from_db()
    assert batch.state == State.QUEUED


def test_one_that_is_not_unconfirmed_is_refused_and_nothing_is_sent(
    manage: Manage, claude: ClaudeEmulator, batch: MessageBatch
) -> None:
    services.submit(batch)
    ran = manage("reconcile", batch.pk)
    assert (ran.code, f"Cannot reconcile batch #{batch.pk}, which is Waiting to be sent" in ran.err) == (1, True)
    assert claude.batches == []


def test_one_that_cannot_be_searched_for_does_not_stop_the_others(manage: Manage, claude: ClaudeEmulator) -> None:
    broken, batch = lose(claude), lose(claude)
    MessageBatch.objects.filter(pk=broken.pk).update(account="gone")
    claude.finish()
    ran = manage("reconcile", "--json")
    assert ran.code == 1
    assert [failed["id"] for failed in ran.document["failed"]] == [broken.pk]
    assert 'Unknown account "gone"' in ran.err
    batch.refresh_from_db()
    assert batch.state == State.INGESTED


def test_term_lets_the_batch_in_hand_finish(manage: Manage, claude: ClaudeEmulator) -> None:
    first, second = lose(claude), lose(claude)
    claude.finish()

    def interrupt(exchange: Exchange) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        exchange.reply = exchange.forward()

    with Relay(claude.url) as relay:
        relay.on("GET", "/batches", interrupt, times=1)
        ran = manage("reconcile", "--json")
    assert [shown["state"] for shown in ran.document["batches"]] == ["ingested", "in_progress"]
    assert (ran.code, "Interrupted; the search continues" in ran.err) == (130, True)
    first.refresh_from_db()
    second.refresh_from_db()
    # The search for the first proved the second too, but nobody fetched its results.
    assert (first.state, second.state) == (State.INGESTED, State.IN_PROGRESS)
