"""On every database, names and keys that differ in case, accents or trailing spaces are different."""

from __future__ import annotations

import pytest

from django_claude_batches import services
from django_claude_batches.db.leases import DatabaseNow
from django_claude_batches.models import AccountState, BatchResult, JobRun, MessageBatch, UsageRollup
from django_claude_batches.services.account_pauses import account_state
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import item
from tests.harness.library.models import Chapter

pytestmark = [pytest.mark.django_db, pytest.mark.database]

LIKE = ["a", "A", "\u00e1", "a\u0301", "a "]


def test_keys_of_targets(claude: ClaudeEmulator) -> None:
    items = [{**item(number), "target": Chapter(path=path)} for number, path in enumerate(LIKE)]
    batch = services.advance(services.submit(MessageBatch.objects.create_draft(items)))
    claude.finish()
    services.advance(batch)
    for number, path in enumerate(LIKE):
        target = Chapter(path=path)
        assert [request.custom_id for request in batch.requests.for_target(target)] == [f"r-{number}"]
        assert [result.custom_id for result in batch.results.for_target(target)] == [f"r-{number}"]
        latest = BatchResult.objects.for_target(target).latest_success()
        assert latest is not None
        assert latest.custom_id == f"r-{number}"


def test_accounts() -> None:
    for alias in LIKE:
        account_state(alias)
    AccountState.objects.filter(alias="a").update(paused_at=DatabaseNow())
    assert [state.alias for state in AccountState.objects.paused()] == ["a"]
    for alias in LIKE:
        MessageBatch.objects.create_draft([item(0)], account=alias)
        assert MessageBatch.objects.filter(account=alias).count() == 1


def test_kinds_and_jobs() -> None:
    for kind in ("tags", "Tags"):
        MessageBatch.objects.create_draft([item(0)], kind=kind)
        JobRun.objects.create(job=kind, exclusive=kind, next_action_at=DatabaseNow())
    for kind in ("tags", "Tags"):
        assert MessageBatch.objects.filter(kind=kind).count() == JobRun.objects.filter(job=kind).count() == 1


def test_each_model_of_answers_has_its_own_usage_row() -> None:
    batch = MessageBatch.objects.create_draft([item(0)])
    for number, model in enumerate(LIKE):
        BatchResult.objects.create(
            batch=batch, custom_id=f"r-{number}", result_type="succeeded", model=model, stop_reason=model
        )
    UsageRollup.objects.replace(batch, UsageRollup.objects.sum_up(batch.pk))
    assert sorted(UsageRollup.objects.filter(batch=batch).values_list("model", flat=True)) == sorted(LIKE)
    for model in LIKE:
        assert batch.results.filter(stop_reason=model).count() == 1
