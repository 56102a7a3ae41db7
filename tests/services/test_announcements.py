"""Receivers of `results_ingested`: called again where they raise, and when to stop."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.exceptions import InvalidTransition
from django_claude_batches.models import MessageBatch, State
from django_claude_batches.signals import batch_ended, results_ingested
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import draft, running

pytestmark = pytest.mark.django_db


@pytest.fixture
def receivers() -> Iterator[list[Any]]:
    """Receivers of `results_ingested`, called in order."""
    called: list[Any] = []

    def call_all(batch: MessageBatch, **kwargs: Any) -> None:
        for receiver in called:
            receiver(batch)

    results_ingested.connect(call_all)
    yield called
    results_ingested.disconnect(call_all)


@pytest.mark.database
class TestAnnouncing:
    def test_receivers_see_the_results(self, claude: ClaudeEmulator, receivers: list[Any]) -> None:
        seen: list[int] = []
        receivers.append(lambda batch: seen.append(batch.results.count()))
        batch = running()
        claude.finish()
        services.advance(batch)
        services.advance(batch)
        assert seen == [3]

    def test_a_receiver_that_raises_is_called_again(self, claude: ClaudeEmulator, receivers: list[Any]) -> None:
        calls: list[int] = []

        def receiver(batch: MessageBatch) -> None:
            calls.append(batch.pk)
            if len(calls) < 3:
                raise ValueError("not yet")

        receivers.append(receiver)
        batch = running()
        claude.finish()
        services.advance(batch)
        assert (batch.state, batch.announced_at) == (State.INGESTED, None)
        assert "ValueError: not yet" in batch.last_error
        assert batch.next_action_at > timezone.now()
        services.advance(batch)
        services.advance(batch)
        assert batch.announced_at is not None
        assert (batch.last_error, len(calls)) == ("", 3)

    def test_after_the_last_try_it_waits_for_an_action(
        self, claude: ClaudeEmulator, receivers: list[Any], settings: Any
    ) -> None:
        settings.CLAUDE_BATCHES = {"ANNOUNCE_ATTEMPTS": 2}
        calls: list[int] = []

        def receiver(batch: MessageBatch) -> None:
            calls.append(batch.pk)
            raise ValueError("broken")

        receivers.append(receiver)
        batch = running()
        claude.finish()
        for _ in range(4):
            services.advance(batch)
        assert len(calls) == 2
        assert "broken" in batch.last_error
        assert batch in MessageBatch.objects.needing_attention()
        receivers.clear()
        services.advance(services.announce_again(batch))
        assert batch.last_error == ""
        assert batch not in MessageBatch.objects.needing_attention()

    @pytest.mark.database
    @pytest.mark.parametrize("failures", [0, 1])
    def test_why_results_are_missing_is_still_said_when_receivers_were_told(
        self, claude: ClaudeEmulator, receivers: list[Any], settings: Any, failures: int
    ) -> None:
        settings.CLAUDE_BATCHES = {"INGEST_ATTEMPTS": 1}
        left = [ValueError("not yet")] * failures

        def receiver(batch: MessageBatch) -> None:
            if left:
                raise left.pop()

        receivers.append(receiver)
        batch = running()
        claude.finish()
        claude.fault("missing_line")
        for _ in range(1 + failures):
            services.advance(batch)
        assert (batch.state, batch.missing_count, batch.announced_at is None) == (State.INGESTED, 1, False)
        assert "2 results came for 3 requests" in batch.last_error
        assert "not yet" not in batch.last_error
        services.advance(services.announce_again(batch))
        assert "2 results came for 3 requests" in batch.last_error
        services.advance(services.delete_remote(batch))
        assert batch.remote_deleted_at is not None
        assert "2 results came for 3 requests" in batch.last_error

    def test_both_are_said_where_receivers_kept_raising_too(
        self, claude: ClaudeEmulator, receivers: list[Any], settings: Any
    ) -> None:
        settings.CLAUDE_BATCHES = {"INGEST_ATTEMPTS": 1, "ANNOUNCE_ATTEMPTS": 1}

        def receiver(batch: MessageBatch) -> None:
            raise ValueError("broken")

        receivers.append(receiver)
        batch = running()
        claude.finish()
        claude.fault("missing_line")
        services.advance(batch)
        assert "2 results came for 3 requests" in batch.last_error
        assert "broken" in batch.last_error

    def test_a_receiver_without_a_name_of_its_own_uses_up_its_tries_too(
        self, claude: ClaudeEmulator, settings: Any
    ) -> None:
        """Django's own words about it raise: `functools.partial` has no `__qualname__`."""

        def broken(why: str, **kwargs: Any) -> None:
            raise ValueError(why)

        settings.CLAUDE_BATCHES = {"ANNOUNCE_ATTEMPTS": 2}
        receiver = partial(broken, "no")
        results_ingested.connect(receiver)
        try:
            batch = running()
            claude.finish()
            for _ in range(3):
                services.advance(batch)
        finally:
            results_ingested.disconnect(receiver)
        assert batch.announced_at is not None
        assert "AttributeError" in batch.last_error

    def test_only_a_complete_batch_is_announced_again(self) -> None:
        with pytest.raises(InvalidTransition, match="Complete"):
            services.announce_again(draft(1))

    def test_other_signals_never_stop_the_work(self, claude: ClaudeEmulator) -> None:
        def broken(**kwargs: Any) -> None:
            raise ValueError("broken")

        batch_ended.connect(broken)
        try:
            batch = running()
            claude.finish()
            assert services.advance(batch).state == State.INGESTED
        finally:
            batch_ended.disconnect(broken)
