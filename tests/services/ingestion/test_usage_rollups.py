"""The rows of usage of a batch, through its life and after it."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from django_claude_batches import services, wire
from django_claude_batches.models import BatchResult, MessageBatch, State, UsageRollup
from django_claude_batches.testing import Bend, ClaudeEmulator
from tests.harness.factories import draft, in_state, running
from tests.harness.relay import Relay, refuse
from tests.services.polling.test_loss import delete_elsewhere, look
from tests.services.reconciliation.test_adopt import lost

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def rollups() -> list[dict[str, Any]]:
    return list(UsageRollup.objects.order_by("model", "pk").values())


def totals() -> tuple[int, int, Decimal]:
    rows = rollups()
    return (
        sum(row["results"] for row in rows),
        sum(row["unpriced_results"] for row in rows),
        sum((row["cost_usd"] for row in rows), Decimal(0)),
    )


@pytest.fixture
def complete(claude: ClaudeEmulator, django_user_model: Any) -> MessageBatch:
    batch = running(3, kind="tags", created_by=django_user_model.objects.create_user("ada"))
    claude.finish()
    return services.advance(batch)


def test_a_row_describes_its_batch(complete: MessageBatch) -> None:
    [row] = rollups()
    assert (row["batch_id"], row["anthropic_id"], row["ended_at"]) == (
        complete.pk,
        complete.anthropic_id,
        complete.ended_at,
    )
    assert (row["account"], row["kind"], row["starter"]) == ("default", "tags", "ada")
    assert (row["results"], row["unpriced_results"], row["cost_usd"]) == (3, 0, complete.cost_usd)


@pytest.mark.parametrize("days", [None, 40_000])
def test_a_batch_without_a_time_or_with_one_to_come_counts_now(complete: MessageBatch, days: int | None) -> None:
    complete.ended_at = None if days is None else timezone.now() + timedelta(days=days)
    before = timezone.now()
    UsageRollup.objects.replace(complete, UsageRollup.objects.sum_up(complete.pk))
    assert before <= UsageRollup.objects.get().ended_at <= timezone.now()


@pytest.mark.parametrize("how", ["instance", "queryset"])
def test_deleting_a_batch_does_not_change_what_was_spent(complete: MessageBatch, how: str) -> None:
    before = rollups()
    complete.delete() if how == "instance" else MessageBatch.objects.all().delete()
    assert rollups() == [{**row, "batch_id": None} for row in before]


def test_two_deleted_batches_keep_a_row_of_the_same_model_each(complete: MessageBatch, claude: ClaudeEmulator) -> None:
    other = running(2)
    claude.finish()
    services.advance(other)
    before = totals()
    MessageBatch.objects.all().delete()
    assert totals() == before
    assert len(rollups()) == 2


def test_a_deleted_batch_that_is_adopted_again_is_counted_once(complete: MessageBatch) -> None:
    before, remote_id = totals(), complete.anthropic_id
    complete.delete()
    again = services.advance(services.adopt(str(remote_id)))
    assert again.state == State.INGESTED
    assert totals() == before
    assert UsageRollup.objects.get().batch == again


def test_an_adopted_row_that_gives_its_batch_up_takes_its_usage_with_it(claude: ClaudeEmulator) -> None:
    """Its results are fetched again for the batch that made it, and counted there."""
    batch = lost(claude)
    claude.finish()
    services.advance(services.adopt(claude.batches[0].id))
    before = totals()
    services.adopt(claude.batches[0].id, for_batch=batch)
    assert totals() == (0, 0, 0)
    services.advance(batch)
    assert totals() == before
    assert UsageRollup.objects.get().batch == batch


def test_fetching_again_replaces_what_was_counted(complete: MessageBatch) -> None:
    before = totals()
    UsageRollup.objects.update(results=99)
    services.advance(services.reingest(complete))
    assert totals() == before


def test_an_answer_that_could_not_be_stored_is_of_unknown_cost(claude: ClaudeEmulator, settings: Any) -> None:
    settings.CLAUDE_BATCHES = {"KICK": False, "INGEST_ATTEMPTS": 1}
    batch = running(3)
    claude.finish()
    claude.fault("missing_line", times=1)
    services.advance(batch)
    assert (batch.state, totals()[:2]) == (State.INGESTED, (2, 1))
    services.advance(services.reingest(batch))
    assert (batch.missing_count, totals()[:2]) == (0, (3, 0))


@pytest.mark.parametrize("how", ["archived", "discarded"])
def test_answers_that_were_not_fetched_are_of_unknown_cost(claude: ClaudeEmulator, how: str) -> None:
    batch = running(3)
    claude.finish()
    if how == "archived":
        claude.archive(str(batch.anthropic_id))
        services.advance(batch)
    else:
        with Relay(claude.url) as relay:
            relay.on("GET", "/results", refuse(500))
            services.advance(batch)
        services.advance(services.delete_remote(batch, discard_results=True))
    assert (batch.state, batch.cost_usd, totals()) == (State.LOST, None, (0, 3, 0))


def test_a_batch_that_vanished_while_it_ran_may_have_been_billed(claude: ClaudeEmulator) -> None:
    running(1)
    batch = running(3)
    delete_elsewhere(claude, batch)
    look(batch)
    assert batch.state == State.LOST, batch.last_error
    row = UsageRollup.objects.get(batch=batch)
    assert (row.results, row.unpriced_results, row.model, row.account) == (0, 3, "", "default")
    assert row.ended_at > timezone.now() - timedelta(minutes=5)


COUNT = 2_000_000_000
LIES = ("retrieve", "list", "create")


@pytest.mark.parametrize("adopted", [False, True])
def test_counts_that_cannot_be_are_not_what_was_spent(claude: ClaudeEmulator, settings: Any, adopted: bool) -> None:
    """Two counts that fit their columns have a sum that fits none."""
    settings.CLAUDE_BATCHES = {"KICK": False, "INGEST_ATTEMPTS": 1}
    batch = running(3)
    claude.finish()
    if adopted:
        MessageBatch.objects.get(pk=batch.pk).erase()
    for name in ("succeeded", "processing"):
        claude.bend(Bend(field=f"request_counts.{name}", to=COUNT, endpoint=LIES))
    batch = services.advance(services.adopt(str(batch.anthropic_id)) if adopted else batch)
    assert batch.state == State.INGESTED, batch.last_error
    stored, unpriced, _cost = totals()
    assert (stored, unpriced <= (wire.MAX_REQUESTS if adopted else 0)) == (3, True)


def test_counts_of_a_batch_that_is_gone_that_cannot_be(claude: ClaudeEmulator) -> None:
    running(1)
    batch = running(3)
    MessageBatch.objects.filter(pk=batch.pk).update(succeeded_count=COUNT, processing_count=COUNT)
    delete_elsewhere(claude, batch)
    look(batch)
    assert batch.state == State.LOST, batch.last_error
    assert UsageRollup.objects.get(batch=batch).unpriced_results == 3


def test_results_of_a_new_type_are_of_unknown_cost() -> None:
    batch = in_state(State.INGESTED)
    BatchResult.objects.create(batch=batch, custom_id="x", result_type="postponed", model="m")
    BatchResult.objects.create(batch=batch, custom_id="y", result_type="succeeded", model="m", cost_usd=Decimal("0.5"))
    BatchResult.objects.create(batch=batch, custom_id="z", result_type="errored")
    summary = UsageRollup.objects.sum_up(batch.pk)
    [row] = summary.usage
    assert (row.results, row.unpriced_results, row.cost_usd, summary.cost_usd) == (1, 1, Decimal("0.5"), None)


def test_a_draft_has_no_usage() -> None:
    draft(2).delete()
    assert rollups() == []
