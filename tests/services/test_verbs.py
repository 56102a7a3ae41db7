"""Announcing, retrying, waiting and deleting."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.exceptions import InvalidRequest, InvalidTransition, WaitTimeout
from django_claude_batches.models import BatchResult, MessageBatch, State, SubmitAttempt
from django_claude_batches.signals import batch_ended, results_ingested
from django_claude_batches.testing import ClaudeEmulator
from tests.library.models import Book
from tests.making import draft, in_state, item, make_due, running
from tests.relay import Relay, lose_answer, refuse

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


class TestWaiting:
    def test_until_it_is_complete(self) -> None:
        seen: list[str] = []
        with ClaudeEmulator(seconds=0.3):
            batch = services.submit(draft(2))
            services.wait(batch, timeout=30, poll_interval=0.1, progress=lambda batch: seen.append(batch.state))
        assert batch.state == State.INGESTED
        assert seen[0] == State.IN_PROGRESS
        assert seen[-1] == State.INGESTED

    def test_not_longer_than_asked(self, claude: ClaudeEmulator) -> None:
        batch = services.submit(draft(1))
        started = time.monotonic()
        with pytest.raises(WaitTimeout, match="still: Running at Anthropic") as caught:
            services.wait(batch, timeout=0.3, poll_interval=0.1)
        assert time.monotonic() - started < 5
        assert caught.value.last_status == State.IN_PROGRESS
        assert isinstance(caught.value, TimeoutError)

    def test_not_for_what_waits_for_a_person(self, claude: ClaudeEmulator) -> None:
        with Relay(claude.url) as relay:
            relay.on("POST", "/batches", lose_answer, times=1)
            assert services.wait(services.submit(draft(1)), timeout=30).state == State.UNCERTAIN
            relay.on("POST", "/batches", refuse(400))
            assert services.wait(services.submit(draft(1)), timeout=30).state == State.REJECTED

    def test_not_for_a_draft(self) -> None:
        with pytest.raises(InvalidTransition, match="not submitted"):
            services.wait(draft(1))


class TestDeletingAtAnthropic:
    @pytest.fixture
    def finished(self, claude: ClaudeEmulator) -> MessageBatch:
        batch = running()
        claude.finish()
        return services.advance(batch)

    def test_a_404_after_our_delete_is_success(self, claude: ClaudeEmulator, finished: MessageBatch) -> None:
        with Relay(claude.url) as relay:
            relay.on("DELETE", "", lose_answer, times=1)
            relay.on("DELETE", "", refuse(500))
            services.advance(services.delete_remote(finished))
        assert finished.remote_deleted_at is None
        assert finished.delete_requested_at is not None
        services.advance(finished)
        assert finished.remote_deleted_at is not None
        assert finished.last_error == ""

    @pytest.mark.parametrize("status", [401, 403, 429])
    def test_a_404_is_success_after_a_lost_answer_and_a_refusal(
        self, claude: ClaudeEmulator, finished: MessageBatch, status: int
    ) -> None:
        """The client tries again by itself, and what refuses that try says nothing of the one before."""
        with Relay(claude.url) as relay:
            relay.on("DELETE", "", lose_answer, times=1)
            relay.on("DELETE", "", refuse(status, retry_after="120"), times=1)
            services.advance(services.delete_remote(finished))
            assert relay.calls("DELETE", "") == 2
            assert (claude.batches[0].deleted, finished.remote_deleted_at) == (True, None)
        make_due(finished)
        services.advance(finished)
        assert finished.remote_deleted_at is not None

    def test_a_404_after_our_delete_timed_out_is_success(self, claude: ClaudeEmulator, finished: MessageBatch) -> None:
        claude.fault("timed_out", on="delete", happens=True, should_retry=False)
        services.advance(services.delete_remote(finished))
        assert (claude.batches[0].deleted, finished.remote_deleted_at) == (True, None)
        make_due(finished)
        services.advance(finished)
        assert finished.remote_deleted_at is not None

    def test_a_404_at_once_proves_nothing(
        self, claude: ClaudeEmulator, finished: MessageBatch, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A key of another Workspace sees a 404 too: the batch is still there."""
        claude.add_key("sk-ant-other", workspace_id="wrkspc_other")
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-other")
        services.advance(services.delete_remote(finished))
        assert finished.remote_deleted_at is None
        assert "404" in finished.last_error
        assert not claude.batches[0].deleted

    def test_what_cannot_be_deleted_is_given_up_and_said(self, claude: ClaudeEmulator, finished: MessageBatch) -> None:
        services.delete_remote(finished)
        with Relay(claude.url) as relay:
            relay.on("DELETE", "", refuse(400, "invalid_request_error", "No."))
            for _ in range(6):
                services.advance(finished)
            assert relay.calls("DELETE", "") == 5
        assert (finished.delete_requested_at, finished.next_action_at) == (None, None)
        assert "No." in finished.last_error
        assert finished.events.last().what == "delete_failed"

    def test_the_place_where_a_search_begins_is_kept(self, claude: ClaudeEmulator, finished: MessageBatch) -> None:
        SubmitAttempt.objects.create(
            batch=in_state(State.HELD),
            number=1,
            tag="x",
            recorded_at=timezone.now(),
            outcome="uncertain",
            baseline_id=finished.anthropic_id,
        )
        services.advance(services.delete_remote(finished))
        assert not claude.batches[0].deleted
        assert "search" in finished.last_error
        assert finished.next_action_at > timezone.now()
        SubmitAttempt.objects.filter(tag="x").update(outcome="not_received")
        services.advance(finished)
        assert claude.batches[0].deleted


@pytest.mark.database
class TestDeletingHere:
    @pytest.mark.parametrize("state", ["draft", "rejected", "held", "ingested", "lost", "abandoned"])
    @pytest.mark.parametrize("how", ["instance", "queryset"])
    def test_what_is_not_live_goes_with_all_its_rows(self, state: str, how: str) -> None:
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
    def test_what_is_live_stays(self, state: str, how: str) -> None:
        fine, batch = draft(1), in_state(State(state))
        with pytest.raises(InvalidTransition, match="Cannot delete batch"):
            batch.delete() if how == "instance" else MessageBatch.objects.all().delete()
        assert set(MessageBatch.objects.all()) == {fine, batch}
        assert fine.requests.count() == 1

    def test_attempts_outlive_their_batch(self) -> None:
        batch = in_state(State.ABANDONED)
        batch.delete()
        assert SubmitAttempt.objects.get().batch is None

    def test_somebody_at_work_keeps_it(self) -> None:
        batch = in_state(State.INGESTED)
        MessageBatch.objects.acquire(batch.pk)
        with pytest.raises(InvalidTransition, match="another process is at work"):
            batch.delete()
        make_due(batch)
        batch.delete()

    def test_users_and_targets_take_nothing_of_ours_with_them(self, django_user_model: Any) -> None:
        user = django_user_model.objects.create_user("ada")
        book = Book.objects.create(title="Emma")
        batch = MessageBatch.objects.create_draft([{**item(0), "target": book}], created_by=user)
        user.delete()
        book.delete()
        batch.refresh_from_db()
        assert (batch.created_by, batch.created_by_name) == (None, "ada")
        assert batch.requests.get().target is None

    def test_children_go_in_a_few_statements(self, django_assert_max_num_queries: Any) -> None:
        batch = draft(3000)
        with django_assert_max_num_queries(30):
            batch.delete()
