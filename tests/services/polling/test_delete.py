"""Deleting a batch at Anthropic."""

from __future__ import annotations

import pytest
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.models import MessageBatch, State, SubmitAttempt
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import in_state, make_due, running
from tests.harness.relay import Relay, lose_answer, refuse
from tests.harness.selections import slow_but

pytestmark = pytest.mark.django_db


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

    @pytest.mark.parametrize("status", slow_but(1, [401, 403, 429]))
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
