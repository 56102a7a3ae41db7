"""Fetching the results of a complete batch once more."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.exceptions import InvalidTransition
from django_claude_batches.models import BatchResult, MessageBatch, State, UsageRollup
from django_claude_batches.services.engine import tick
from django_claude_batches.signals import batch_failed, results_ingested
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import draft, in_state, make_due, running

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def told() -> Iterator[list[tuple[int, int]]]:
    """How many results each call of `results_ingested` found, and how many were missing."""
    calls: list[tuple[int, int]] = []

    def receiver(batch: MessageBatch, **kwargs: Any) -> None:
        calls.append((batch.results.count(), batch.missing_count))

    results_ingested.connect(receiver)
    yield calls
    results_ingested.disconnect(receiver)


@pytest.fixture
def failed() -> Iterator[list[str]]:
    calls: list[str] = []

    def receiver(batch: MessageBatch, **kwargs: Any) -> None:
        calls.append(batch.state)

    batch_failed.connect(receiver)
    yield calls
    batch_failed.disconnect(receiver)


@pytest.fixture
def complete(claude: ClaudeEmulator) -> MessageBatch:
    batch = running(3)
    claude.finish()
    return services.advance(batch)


def stored(batch: MessageBatch) -> list[tuple[Any, ...]]:
    return list(batch.results.order_by("pk").values_list("pk", "custom_id", "message", "raw"))


def test_what_was_missing_comes_and_what_is_stored_stays(
    claude: ClaudeEmulator, told: list[tuple[int, int]], settings: Any
) -> None:
    settings.CLAUDE_BATCHES = {"KICK": False, "INGEST_ATTEMPTS": 1}
    batch = running(3)
    claude.finish()
    claude.fault("missing_line", times=1)
    services.advance(batch)
    assert (batch.state, batch.missing_count) == (State.INGESTED, 1)
    before = stored(batch)
    services.reingest(batch)
    assert (batch.state, batch.ingested_at, batch.was_complete) == (State.ENDED, None, True)
    services.advance(batch)
    assert (batch.state, batch.missing_count, batch.last_error) == (State.INGESTED, 0, "")
    assert batch.announced_at is not None
    assert stored(batch)[:2] == before
    assert not batch.requests.missing().exists()
    assert told == [(2, 1), (3, 0)]
    assert UsageRollup.objects.get(batch=batch).results == 3


def test_nothing_is_doubled_where_nothing_was_missing(
    complete: MessageBatch, told: list[tuple[int, int]], django_user_model: Any
) -> None:
    before, usage = stored(complete), list(complete.usage.values("model", "results", "input_tokens", "cost_usd"))
    cost = complete.cost_usd
    services.advance(services.reingest(complete, by=django_user_model.objects.create_user("ada")))
    assert (complete.state, stored(complete), complete.cost_usd) == (State.INGESTED, before, cost)
    assert list(complete.usage.values("model", "results", "input_tokens", "cost_usd")) == usage
    assert told == [(3, 0)]
    assert complete.events.get(what="reingest_requested").by_name == "ada"
    assert complete.problems.count() == 0


def test_repeating_the_wish_does_nothing(complete: MessageBatch) -> None:
    services.reingest(complete)
    services.reingest(complete)
    assert complete.events.filter(what="reingest_requested").count() == 1


def test_it_is_due_at_once_and_its_tries_begin_anew(complete: MessageBatch) -> None:
    MessageBatch.objects.filter(pk=complete.pk).update(tries=4, failures=4, last_error="as before")
    services.reingest(complete)
    assert (complete.tries, complete.failures, complete.last_error) == (0, 0, "")
    assert MessageBatch.objects.due().get() == complete


def test_a_download_that_breaks_is_gone_on_with(claude: ClaudeEmulator, complete: MessageBatch) -> None:
    claude.fault("cut_mid_line", times=1)
    BatchResult.objects.filter(batch=complete, custom_id="r-2").delete()
    services.advance(services.reingest(complete))
    assert (complete.state, complete.failures) == (State.ENDED, 1)
    make_due(complete)
    services.advance(complete)
    assert (complete.state, complete.results.count()) == (State.INGESTED, 3)


def test_a_worker_that_died_while_it_fetched_costs_nothing(complete: MessageBatch) -> None:
    services.reingest(complete)
    MessageBatch.objects.acquire(complete.pk)  # and never came back
    services.advance(complete)
    assert complete.state == State.ENDED
    make_due(complete)
    services.advance(complete)
    assert (complete.state, complete.results.count()) == (State.INGESTED, 3)


def test_not_while_its_receivers_are_at_work(complete: MessageBatch) -> None:
    said: list[str] = []

    def receiver(batch: MessageBatch, **kwargs: Any) -> None:
        with pytest.raises(InvalidTransition) as caught:
            services.reingest(MessageBatch.objects.get(pk=batch.pk))
        said.append(str(caught.value))

    results_ingested.connect(receiver)
    try:
        services.advance(services.announce_again(complete))
    finally:
        results_ingested.disconnect(receiver)
    assert [text.endswith("it is still being announced to the app.") for text in said] == [True]
    assert (complete.state, complete.last_error) == (State.INGESTED, "")


@pytest.mark.parametrize("end", ["archived", "discarded"])
def test_one_whose_results_cannot_be_had_again_is_as_complete_as_it_was(
    claude: ClaudeEmulator, complete: MessageBatch, told: list[tuple[int, int]], failed: list[str], end: str
) -> None:
    services.reingest(complete)
    if end == "archived":
        claude.archive(str(complete.anthropic_id))
    else:
        services.delete_remote(complete, discard_results=True)
    services.advance(complete)
    services.advance(complete)
    assert (complete.state, complete.missing_count, complete.last_error) == (State.INGESTED, 0, "")
    assert (complete.results.count(), told, failed) == (3, [(3, 0)], [])
    assert complete.is_live is False
    assert (complete.remote_deleted_at is not None) == (end == "discarded")


def test_it_is_deleted_after_it_was_fetched_again(claude: ClaudeEmulator, complete: MessageBatch) -> None:
    services.reingest(complete)
    services.delete_remote(complete)
    services.advance(complete)
    assert (complete.state, complete.results.count()) == (State.INGESTED, 3)
    assert complete.remote_deleted_at is not None


def test_no_alarm_is_raised_for_what_is_stored_already(complete: MessageBatch, failed: list[str]) -> None:
    MessageBatch.objects.filter(pk=complete.pk).update(created_at=timezone.now() - timedelta(days=28))
    services.reingest(complete)
    assert not MessageBatch.objects.nearing_deadline().exists()
    tick(lambda pk: None)
    assert failed == []


NOW = timezone.now()


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"remote_deleted_at": NOW}, "it is deleted at Anthropic."),
        ({"delete_requested_at": NOW}, "it is going to be deleted at Anthropic."),
        ({"result_purge_began_at": NOW}, "they were purged, and do not come back."),
        ({"result_purge_began_at": NOW, "result_bodies_purged_at": NOW}, "they were purged, and do not come back."),
        ({"archived_at": NOW}, "older than the 29 days for which Anthropic keeps results."),
        ({"created_at": NOW - timedelta(days=30)}, "older than the 29 days for which Anthropic keeps results."),
        ({"announced_at": None, "next_action_at": NOW}, "it is still being announced to the app."),
    ],
)
def test_what_cannot_be_fetched_again_says_why(columns: dict[str, Any], why: str) -> None:
    batch = in_state(State.INGESTED, **columns)
    before = MessageBatch.objects.values().get()
    with pytest.raises(InvalidTransition, match=why):
        services.reingest(batch)
    assert MessageBatch.objects.values().get() == before
    assert not batch.events.filter(what="reingest_requested").exists()


@pytest.mark.parametrize("state", [state for state in State if state != State.INGESTED])
def test_only_a_complete_batch_is_fetched_again(state: State) -> None:
    batch = draft(1) if state == State.DRAFT else in_state(state)
    with pytest.raises(InvalidTransition, match="that is: Complete"):
        services.reingest(batch)
    batch.refresh_from_db()
    assert batch.state == state
