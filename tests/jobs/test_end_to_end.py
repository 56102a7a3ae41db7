from __future__ import annotations

import pytest

from django_claude_batches.models import DeliveryChunk, MessageBatch, RunState
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.library.models import Review
from tests.harness.shop import job, over, reviews

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def test_each_row_has_one_effect(claude: ClaudeEmulator) -> None:
    reviews(30)
    run = job().start(label="nightly")
    over(run, claude)
    assert run.state == RunState.FINISHED, (run.last_error, run.pause_reason)
    assert list(Review.objects.values_list("effects", flat=True)) == [1] * 30
    assert run.row_count == 30
    batch = MessageBatch.objects.get(run=run)
    assert (batch.kind, batch.label, batch.delivered_at is not None) == ("tag-reviews", "nightly", True)
    assert DeliveryChunk.objects.get().delivered_count == 30
