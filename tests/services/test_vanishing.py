"""Lost only on proof; and said in time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.client import BatchesClient
from django_claude_batches.models import MessageBatch, State
from django_claude_batches.signals import batch_failed
from django_claude_batches.testing import ClaudeEmulator
from tests.making import make_due, running
from tests.relay import Relay, refuse

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
        services.tick(services.advance_if_due)
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
        services.tick(lambda pk: None)
        assert failed == []
        rows.update(created_at=timezone.now() - timedelta(hours=age + 0.5))
        for _ in range(3):
            services.tick(lambda pk: None)
        assert failed == [batch]
        assert batch.events.filter(what="alarm").count() == 1
