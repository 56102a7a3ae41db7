"""Drafts of what failed."""

from __future__ import annotations

import pytest
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.exceptions import InvalidRequest, InvalidTransition
from django_claude_batches.models import BatchResult, MessageBatch, State
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import in_state, item
from tests.harness.library.models import Book

pytestmark = pytest.mark.django_db


@pytest.mark.database
class TestRetrying:
    @pytest.fixture
    def finished(self, claude: ClaudeEmulator) -> MessageBatch:
        """One request of each outcome: succeeded, truncated, refused, errored, canceled, expired, missing."""
        book = Book.objects.create(title="Emma")
        batch = MessageBatch.objects.create_draft(
            ({**item(number), "target": book} for number in range(7)), kind="tags", label="Tags", betas=["b"]
        )
        outcomes = [
            ("succeeded", "end_turn"),
            ("succeeded", "max_tokens"),
            ("succeeded", "refusal"),
            ("errored", ""),
            ("canceled", ""),
            ("expired", ""),
        ]
        for request, (result_type, stop_reason) in zip(batch.requests.all(), outcomes, strict=False):
            BatchResult.objects.create(
                batch=batch,
                request=request,
                custom_id=request.custom_id,
                result_type=result_type,
                stop_reason=stop_reason,
            )
        now = timezone.now()
        MessageBatch.objects.filter(pk=batch.pk).update(
            state=State.INGESTED,
            anthropic_id="msgbatch_1",
            processing_status="ended",
            ingested_at=now,
            announced_at=now,
        )
        batch.refresh_from_db()
        return batch

    @pytest.mark.parametrize(
        ("outcomes", "ids"),
        [
            (None, {"r-3", "r-5", "r-6"}),
            (["errored"], {"r-3"}),
            (["expired"], {"r-5"}),
            (["canceled"], {"r-4"}),
            (["truncated"], {"r-1"}),
            (["refused"], {"r-2"}),
            (["missing"], {"r-6"}),
            (["truncated", "canceled"], {"r-1", "r-4"}),
        ],
    )
    def test_rows_with_those_outcomes_become_a_draft(
        self, finished: MessageBatch, outcomes: list[str] | None, ids: set[str]
    ) -> None:
        child = services.retry(finished) if outcomes is None else services.retry(finished, outcomes=outcomes)
        assert set(child.requests.values_list("custom_id", flat=True)) == ids
        assert (child.state, child.parent, child.kind, child.betas) == (State.DRAFT, finished, "tags", ["b"])
        for request in child.requests.all():
            original = finished.requests.get(custom_id=request.custom_id)
            assert request.params_text == original.params_text
            assert request.target == original.target is not None
        assert finished.events.filter(what="retried").count() == 1

    def test_max_tokens_can_be_raised(self, finished: MessageBatch) -> None:
        child = services.retry(finished, outcomes=["truncated"], max_tokens=4096)
        assert child.requests.get().params == {**item(1)["params"], "max_tokens": 4096}
        assert child.requests.get().params_bytes == len(child.requests.get().params_text.encode())

    def test_the_original_can_be_deleted_and_its_retry_stays(self, finished: MessageBatch) -> None:
        child = services.retry(finished)
        finished.delete()
        child.refresh_from_db()
        assert child.parent is None

    def test_what_cannot_be_retried_says_why(self, finished: MessageBatch) -> None:
        with pytest.raises(InvalidRequest, match="unknown outcome 'failed': errored, expired"):
            services.retry(finished, outcomes=["failed"])
        finished.results.filter(result_type="errored").delete()
        with pytest.raises(InvalidRequest, match="no request here that is errored"):
            services.retry(finished, outcomes=["errored"])
        with pytest.raises(InvalidTransition, match="Complete"):
            services.retry(in_state(State.IN_PROGRESS))
