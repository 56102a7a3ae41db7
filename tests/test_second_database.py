"""Everything of ours lives where the router writes it, also when that is not the default database."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.models import BatchEvent, BatchRequest, BatchResult, MessageBatch, State, SubmitAttempt
from django_claude_batches.testing import ClaudeEmulator
from tests.making import draft, make_due
from tests.relay import Relay, lose_answer

pytestmark = pytest.mark.django_db(databases=["default", "other"])


class OurTablesElsewhere:
    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return self.db_for_write(model)

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "other" if model._meta.app_label == "django_claude_batches" else None

    def allow_relation(self, obj1: Any, obj2: Any, **hints: Any) -> bool:
        return True


class ReadsLag(OurTablesElsewhere):
    """Reads go to a database that has none of our rows: a replica that lags for ever."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return "default"


@pytest.mark.parametrize("router", [OurTablesElsewhere, ReadsLag])
def test_the_whole_journey(settings: Any, claude: ClaudeEmulator, router: Any) -> None:
    settings.DATABASE_ROUTERS = [router()]
    batch = draft(3)
    assert batch._state.db == "other"
    services.advance(services.submit(batch))
    claude.finish()
    services.tick(services.advance_if_due)
    services.advance(batch)
    child = services.retry(batch, outcomes=["missing"]) if batch.missing_count else None
    assert (batch.state, child) == (State.INGESTED, None)
    retention = dict.fromkeys(("REQUEST_BODIES", "RESULT_BODIES", "REMOTE_COPIES"), 60)
    settings.CLAUDE_BATCHES = {"KICK": False, "RETENTION": retention}
    minutes_ago = timezone.now() - timedelta(minutes=2)
    MessageBatch.objects.using("other").filter(pk=batch.pk).update(announced_at=minutes_ago)
    [report] = services.purge()
    assert (report.request_bodies.rows, report.result_bodies.rows, report.remote_copies.batches) == (3, 3, 1)
    services.advance(services.delete_remote(batch))
    assert batch.remote_deleted_at is not None
    with Relay(claude.url) as relay:
        relay.on("POST", "/batches", lose_answer, times=1)
        lost = services.advance(services.submit(draft(2)))
    assert lost.state == State.UNCERTAIN
    claude.finish()
    services.advance(services.adopt(claude.batches[1].id, for_batch=lost))
    assert lost.state == State.INGESTED
    make_due(lost)
    assert BatchResult.objects.using("other").count() == 5
    batch.delete()
    for model in (MessageBatch, BatchRequest, BatchResult, BatchEvent, SubmitAttempt):
        assert not model.objects.using("default").exists()
        assert model.objects.using("other").exists()
