"""Deleting the rows of a batch."""

from __future__ import annotations

from typing import Any

import pytest

from django_claude_batches.exceptions import InvalidTransition
from django_claude_batches.models import BatchResult, MessageBatch, State, SubmitAttempt
from tests.harness.factories import draft, in_state, item, make_due
from tests.harness.library.models import Book
from tests.harness.selections import slow_but

pytestmark = pytest.mark.django_db


@pytest.mark.database
class TestDeletingHere:
    @pytest.mark.parametrize("state", slow_but(2, ["draft", "rejected", "held", "ingested", "lost", "abandoned"]))
    @pytest.mark.parametrize("how", slow_but(2, ["instance", "queryset"]))
    def test_delete_removes_a_batch_with_all_its_rows(self, state: str, how: str) -> None:
        batch = in_state(State(state))
        request = batch.requests.get()
        BatchResult.objects.create(batch=batch, request=request, custom_id="r-0", result_type="canceled")
        other = draft(2)
        deleted = batch.delete() if how == "instance" else MessageBatch.objects.filter(pk=batch.pk).delete()
        assert deleted[1]["django_claude_batches.BatchRequest"] == 1
        assert deleted[1]["django_claude_batches.MessageBatch"] == 1
        assert list(MessageBatch.objects.all()) == [other]
        assert other.requests.count() == 2
        assert not BatchResult.objects.exists()

    @pytest.mark.parametrize(
        "state", ["queued", "submitting", "uncertain", "in_progress", "canceling", "ended", "incomplete"]
    )
    @pytest.mark.parametrize("how", ["instance", "queryset"])
    def test_delete_is_refused_for_a_live_batch(self, state: str, how: str) -> None:
        fine, batch = draft(1), in_state(State(state))
        with pytest.raises(InvalidTransition, match="Cannot delete batch"):
            batch.delete() if how == "instance" else MessageBatch.objects.all().delete()
        assert set(MessageBatch.objects.all()) == {fine, batch}
        assert fine.requests.count() == 1

    def test_attempts_are_kept_when_their_batch_is_deleted(self) -> None:
        batch = in_state(State.ABANDONED)
        batch.delete()
        assert SubmitAttempt.objects.get().batch is None

    def test_delete_is_refused_while_the_batch_is_leased(self) -> None:
        batch = in_state(State.INGESTED)
        MessageBatch.objects.acquire(batch.pk)
        with pytest.raises(InvalidTransition, match="another process is at work"):
            batch.delete()
        make_due(batch)
        batch.delete()

    def test_deleting_users_and_targets_keeps_batches_and_requests(self, django_user_model: Any) -> None:
        user = django_user_model.objects.create_user("ada")
        book = Book.objects.create(title="Emma")
        batch = MessageBatch.objects.create_draft([{**item(0), "target": book}], created_by=user)
        user.delete()
        book.delete()
        batch.refresh_from_db()
        assert (batch.created_by, batch.created_by_name) == (None, "ada")
        assert batch.requests.get().target is None

    def test_delete_takes_a_few_statements(self, django_assert_max_num_queries: Any) -> None:
        batch = draft(3000)
        with django_assert_max_num_queries(30):
            batch.delete()
