"""The main job in one process: drafted, submitted over HTTP, finished, ingested, announced, read back."""

from __future__ import annotations

import pytest

from django_claude_batches import services
from django_claude_batches.models import MessageBatch, State
from django_claude_batches.testing import ClaudeEmulator

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def test_a_batch_is_sent_once_and_its_results_become_rows(claude: ClaudeEmulator, batch: MessageBatch) -> None:
    services.submit(batch)
    services.advance(batch)
    assert batch.state == State.IN_PROGRESS
    claude.finish()
    services.advance(batch)
    assert (batch.state, batch.last_error) == (State.INGESTED, "")
    assert batch.announced_at is not None
    assert len(claude.batches) == 1
    results = batch.results.succeeded().in_request_order()
    assert [result.custom_id for result in results] == ["r-0", "r-1", "r-2"]
    assert "Hello 0" in results[0].text
    assert batch.usage.get().results == 3
