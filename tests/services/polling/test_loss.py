"""Lost only on proof; and said in time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.client import BatchesClient
from django_claude_batches.exceptions import InvalidTransition
from django_claude_batches.models import MessageBatch, State
from django_claude_batches.models.batch_state import FETCHING, RUNNING
from django_claude_batches.services.engine import advance_if_due, tick
from django_claude_batches.services.submission import close_attempt
from django_claude_batches.signals import batch_failed
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import in_state, make_due, running
from tests.harness.relay import Exchange, Relay, refuse

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def failed() -> Any:
    told: list[MessageBatch] = []
    batch_failed.connect(hear := lambda batch, **kwargs: told.append(batch))
    yield told
    batch_failed.disconnect(hear)


def look(batch: MessageBatch, times: int = 3, *, hours_between: float = 1.0) -> MessageBatch:
    for _ in range(times):
        make_due(batch)
        tick(advance_if_due)
        missed_at = timezone.now() - timedelta(hours=hours_between)
        MessageBatch.objects.filter(pk=batch.pk, missed_at__isnull=False).update(missed_at=missed_at)
    batch.refresh_from_db()
    return batch


def delete_elsewhere(claude: ClaudeEmulator, batch: MessageBatch) -> None:
    claude.finish()
    client = BatchesClient(api_key=claude.api_key, base_url=claude.url)
    client.delete(str(batch.anthropic_id))
    client.close()


class TestDeletedElsewhere:
    @pytest.mark.parametrize("fetching", [False, True])
    def test_it_is_lost_after_three_misses_over_half_an_hour(
        self, claude: ClaudeEmulator, failed: list[Any], fetching: bool
    ) -> None:
        running(1)
        batch = running()
        if fetching:
            claude.finish()
            with Relay(claude.url) as relay:
                relay.on("GET", "/results", refuse(500))
                services.advance(batch)
            assert batch.state == State.ENDED
        delete_elsewhere(claude, batch)
        assert look(batch, 2).state != State.LOST
        assert look(batch, 1).state == State.LOST
        assert (batch.missing_count, failed) == (3, [batch])
        assert "deleted there" in batch.last_error

    def test_also_when_somebody_wants_it_canceled(self, claude: ClaudeEmulator) -> None:
        batch = running()
        delete_elsewhere(claude, batch)
        services.cancel(batch)
        assert look(batch, 4).state == State.LOST

    def test_not_within_half_an_hour(self, claude: ClaudeEmulator) -> None:
        batch = running()
        delete_elsewhere(claude, batch)
        assert look(batch, 6, hours_between=0.1).state == State.IN_PROGRESS

    def test_not_by_a_404_that_passes(self, claude: ClaudeEmulator) -> None:
        batch = running()
        with Relay(claude.url) as relay:
            relay.on("GET", str(batch.anthropic_id), refuse(404, "not_found_error"))
            for _ in range(4):
                services.advance(batch)
                MessageBatch.objects.update(missed_at=timezone.now() - timedelta(hours=1))
        assert batch.state == State.IN_PROGRESS, "the listing still shows it"
        assert (batch.misses, services.advance(batch).misses) == (4, 0)

    def test_not_for_a_key_of_another_workspace(self, claude: ClaudeEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
        batch = running()
        claude.add_key("sk-ant-other", workspace_id="wrkspc_other")
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-other")
        assert look(batch, 5).state == State.IN_PROGRESS
        assert "404" in batch.last_error
        monkeypatch.setenv("ANTHROPIC_API_KEY", claude.api_key)
        claude.finish()
        assert look(batch).state == State.INGESTED


class TestTooLate:
    def test_results_past_29_days_are_lost(self, claude: ClaudeEmulator) -> None:
        batch = running()
        claude.finish()
        with Relay(claude.url) as relay:
            relay.on("GET", "/results", refuse(404, "not_found_error"))
            assert services.advance(batch).state == State.ENDED
            MessageBatch.objects.filter(pk=batch.pk).update(created_at=timezone.now() - timedelta(days=30))
            assert services.advance(batch).state == State.LOST
        assert "archived" in batch.last_error

    @pytest.mark.parametrize(("state", "age"), [(State.IN_PROGRESS, 23), (State.ENDED, 27 * 24)])
    def test_it_is_said_once_in_time(self, claude: ClaudeEmulator, failed: list[Any], state: State, age: int) -> None:
        batch = running()
        later = timezone.now() + timedelta(hours=5)
        rows = MessageBatch.objects.filter(pk=batch.pk)
        rows.update(
            state=state,
            processing_status="ended" if state == State.ENDED else "in_progress",
            next_action_at=later,
            created_at=timezone.now() - timedelta(hours=age - 1),
        )
        tick(lambda pk: None)
        assert failed == []
        rows.update(created_at=timezone.now() - timedelta(hours=age + 0.5))
        for _ in range(3):
            tick(lambda pk: None)
        assert failed == [batch]
        assert batch.events.filter(what="alarm").count() == 1


def nameless(exchange: Exchange) -> None:
    status, headers, body = exchange.forward()
    kept = {name: value for name, value in headers.items() if name.lower() != "anthropic-workspace-id"}
    exchange.reply = (status, kept, body)


@pytest.fixture
def missing(claude: ClaudeEmulator) -> MessageBatch:
    """A batch that was deleted elsewhere, behind a server that names no Workspace: no listing can prove it."""
    with Relay(claude.url) as gateway:
        gateway.on("POST", "/batches", nameless)
        gateway.on("GET", "/batches", nameless)
        batch = running()
    assert batch.workspace_id == ""
    delete_elsewhere(claude, batch)
    assert look(batch, 6).state == State.IN_PROGRESS
    return batch


class TestWorkspaceUnknown:
    """What no listing can prove ends by time, or by a person's word."""

    def test_it_is_lost_after_the_keeping_time(self, missing: MessageBatch, failed: list[Any]) -> None:
        MessageBatch.objects.filter(pk=missing.pk).update(created_at=timezone.now() - timedelta(days=30))
        assert look(missing, 1).state == State.LOST
        assert "keeps its results no longer" in missing.last_error
        assert missing in failed

    def test_a_person_declares_it_lost(self, missing: MessageBatch, django_user_model: Any) -> None:
        ada = django_user_model.objects.create(username="ada")
        services.declare_lost(missing, by=ada)
        assert (missing.state, missing.missing_count) == (State.LOST, 3)
        services.declare_lost(missing)
        assert [event.by for event in missing.events.filter(what="lost")] == [ada]

    @pytest.mark.parametrize("columns", [{}, {"misses": 2}, {"missed_at": timezone.now() + timedelta(days=1)}])
    def test_not_one_that_was_found(self, columns: dict[str, Any]) -> None:
        long_ago = timezone.now() - timedelta(hours=1)
        batch = in_state(State.IN_PROGRESS, **({"misses": 3, "missed_at": long_ago} | columns if columns else {}))
        with pytest.raises(InvalidTransition, match="was not yet missed three times"):
            services.declare_lost(batch)

    @pytest.mark.parametrize("state", [s for s in State if s not in {*RUNNING, *FETCHING, State.LOST, State.ABANDONED}])
    def test_no_other_state(self, state: State) -> None:
        with pytest.raises(InvalidTransition, match="has nothing to lose"):
            services.declare_lost(in_state(state))

    def test_a_held_one_that_may_have_been_billed_is_given_up(self) -> None:
        batch = held_in_doubt()
        services.declare_lost(batch)
        assert (batch.state, batch.events.last().what) == (State.ABANDONED, "abandoned")
        assert services.declare_lost(batch).events.filter(what="abandoned").count() == 1


def held_in_doubt() -> MessageBatch:
    batch = in_state(State.UNCERTAIN)
    close_attempt.hold_undecided(batch, batch.attempts.get(), "it is a test")
    assert (batch.state, batch.may_have_been_billed) == (State.HELD, True)
    return batch
