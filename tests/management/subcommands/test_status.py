from __future__ import annotations

import pytest

from django_claude_batches import services
from django_claude_batches.models import MessageBatch, State
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import draft, item
from tests.management.conftest import Manage
from tests.management.subcommands.test_batch_actions import put

pytestmark = pytest.mark.django_db


def test_without_any_batch(manage: Manage) -> None:
    ran = manage("status")
    assert (ran.code, ran.out) == (0, "There is no batch yet.\n")
    assert manage("status", "--json").document == {"batches": []}


def test_the_newest_come_first_and_kinds_can_be_chosen(manage: Manage) -> None:
    batches = [draft(kind="tags" if number % 2 else "other") for number in range(22)]
    shown = manage("status", "--json").document["batches"]
    assert [one["id"] for one in shown] == [batch.pk for batch in reversed(batches)][:20]
    shown = manage("status", "--kind", "tags", "--json").document["batches"]
    assert {one["kind"] for one in shown} == {"tags"}


def test_a_complete_batch_by_its_id(manage: Manage, claude: ClaudeEmulator, batch: MessageBatch) -> None:
    services.advance(services.submit(batch))
    claude.finish()
    services.advance(batch)
    ran = manage("status", batch.anthropic_id)
    assert ran.code == 0
    assert "Complete, 3 requests. 3 of 3 results are stored. 3 succeeded." in ran.out
    [shown] = manage("status", batch.pk, "--json").document["batches"]
    assert (shown["anthropic_id"], shown["attention"]) == (batch.anthropic_id, "")
    assert shown["outcomes"] == {"succeeded": 3}
    assert shown["request_counts"] == {"processing": 0, "succeeded": 3, "errored": 0, "canceled": 0, "expired": 0}


@pytest.mark.parametrize("state", [State.UNCERTAIN, State.HELD, State.REJECTED])
def test_a_named_batch_that_needs_a_person_has_a_code_of_its_own(
    manage: Manage, batch: MessageBatch, state: State
) -> None:
    put(batch, state)
    ran = manage("status", batch.pk)
    assert ran.code == 4
    assert str(state.label) in ran.out
    assert "Needs attention" in ran.err
    assert manage("status").code == 0


def test_the_last_error_is_shown(manage: Manage, batch: MessageBatch) -> None:
    MessageBatch.objects.filter(pk=batch.pk).update(last_error="disk full\nand more")
    assert "Last error: disk full\\nand more\n" in manage("status", batch.pk).out


def test_what_was_not_sent_has_an_estimate(manage: Manage) -> None:
    params = {"model": "claude-opus-5", "max_tokens": 100_000, "messages": [{"role": "user", "content": "x" * 10_000}]}
    batch = MessageBatch.objects.create_draft([{"params": params}] * 10)
    [shown] = manage("status", batch.pk, "--json").document["batches"]
    # Of 10,087 bytes each: low 10 * (9,987 / 5 * 5 + 1 * 25) / 1e6 / 2
    # high 10 * (10,087 / 2 * 5 + 100,000 * 25) / 1e6 / 2
    assert shown["estimate"] == {
        "low_usd": "0.050060000",
        "high_usd": "12.626087500",
        "prices_as_of": "2026-11-22",
        "unknown_models": [],
        "warnings": [],
    }
    assert "Estimate: $0.05 to $12.63 by the prices of 2026-11-22." in manage("status", batch.pk).out
    put(batch, State.ABANDONED)
    assert "Estimate" not in manage("status", batch.pk).out


def test_a_model_without_a_price_has_no_estimate(manage: Manage) -> None:
    batch = MessageBatch.objects.create_draft([item(0, model="mine"), item(1)])
    ran = manage("status", batch.pk)
    assert 'Estimate: not known, no price for model "mine" on 2026-11-22.' in ran.out
    [shown] = manage("status", batch.pk, "--json").document["batches"]
    assert (shown["estimate"]["low_usd"], shown["estimate"]["unknown_models"]) == (None, ["mine"])
