"""Every cell of the two state tables: what people read, what leads where, and what the wishes do."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, transaction

from django_claude_batches import services
from django_claude_batches.exceptions import About, InvalidTransition, RateLimitError
from django_claude_batches.models import MessageBatch, State, SubmitAttempt
from django_claude_batches.models.batch_state import ALWAYS_DUE, REMOTE
from django_claude_batches.services.submission import close_attempt
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import draft, in_state, running
from tests.harness.relay import Relay, lose_answer, refuse, rewrite
from tests.harness.selections import slow_but

pytestmark = [pytest.mark.django_db, pytest.mark.database]

WORDS = {
    State.DRAFT: ("Draft", "Not sent. Costs nothing until submitted."),
    State.QUEUED: ("Waiting to be sent", "Not sent yet: No {credit}. The next try is at Nov. 23, 2026, 1:30 p.m."),
    State.SUBMITTING: ("Sending", "Being uploaded to Anthropic."),
    State.UNCERTAIN: (
        "Sent, not confirmed",
        (
            "The connection broke. The batch may be running and billed, so it is not sent again until that is known. "
            "This can take a day."
        ),
    ),
    State.HELD: ("Not received", "No matching batch appeared at Anthropic. Submit again when ready."),
    State.ABANDONED: ("Abandoned", "Abandoned. It may have been billed."),
    State.REJECTED: ("Refused by Anthropic", 'Nothing ran. "No {credit}.". Correct it and submit again.'),
    State.IN_PROGRESS: ("Running at Anthropic", "Usually under an hour, at most until Nov. 23, 2026, 1:30 p.m."),
    State.CANCELING: ("Canceling", "Requests already running finish and are billed; their results are kept."),
    State.ENDED: ("Finished, fetching results", "0 of 1 stored."),
    State.INCOMPLETE: ("Results missing, fetching again", "0 of 1 stored; next try Nov. 23, 2026, 1:30 p.m."),
    State.INGESTED: ("Complete", "0 of 1 results are stored."),
    State.LOST: ("Results no longer available", "Archived or deleted at Anthropic before the results were fetched."),
}


@pytest.mark.parametrize("state", State)
def test_what_people_read(state: State) -> None:
    label, explanation = WORDS[state]
    at = "2026-11-23T12:30:00Z"
    columns = {"last_error": "No {credit}.", "expires_at": at, "succeeded_count": 5, "missing_count": 1}
    columns |= {"errored_count": 2, "canceled_count": 3, "expired_count": 4}
    if state in ALWAYS_DUE:
        columns["next_action_at"] = at
    batch = in_state(state, **columns)
    assert State(batch.state).label == label
    assert batch.explanation.startswith(explanation)


def lost_create(relay: Relay, batch: MessageBatch) -> MessageBatch:
    relay.on("POST", "/batches", lose_answer, times=1)
    return services.advance(services.submit(batch))


class TestWhatLeadsWhere:
    """The column "leads to", edge by edge, over real HTTP where there is any."""

    @pytest.mark.parametrize("state", [State.DRAFT, State.HELD, State.REJECTED])
    def test_to_queued_by_submit(self, state: State) -> None:
        batch = in_state(state, last_error="as before", cancel_requested_at=None)
        services.submit(batch)
        assert (batch.state, batch.last_error) == (State.QUEUED, "")
        assert batch.queued_at is not None
        services.submit(batch)
        assert batch.events.filter(what="submitted").count() == 1

    @pytest.mark.parametrize("state", [s for s in State if s not in {"draft", "held", "rejected", "queued"}])
    def test_no_other_state_can_be_submitted(self, state: State) -> None:
        batch = in_state(state)
        with pytest.raises(InvalidTransition, match="Draft, Not received, Refused by Anthropic"):
            services.submit(batch)
        batch.refresh_from_db()
        assert batch.state == state

    def test_queued_to_draft_taken_back(self) -> None:
        batch = services.cancel(services.submit(draft(1)))
        assert (batch.state, batch.queued_at, batch.next_action_at) == (State.DRAFT, None, None)

    def test_queued_over_submitting_to_in_progress(self, claude: ClaudeEmulator) -> None:
        batch = running()
        assert batch.anthropic_id == claude.batches[0].id
        assert list(batch.events.values_list("what", flat=True)) == ["drafted", "submitted", "sending", "accepted"]
        attempt = batch.attempts.get()
        assert (attempt.number, attempt.outcome, attempt.remote_id) == (1, "accepted", batch.anthropic_id)
        assert attempt.recorded_at < attempt.sent_at < attempt.watch_until

    def test_submitting_to_queued_when_the_lease_ran_out_before_it_was_sent(self, claude: ClaudeEmulator) -> None:
        batch = in_state(State.SUBMITTING)
        batch.attempts.update(sent_at=None)
        services.advance(batch)
        assert batch.state == State.QUEUED
        assert batch.attempts.get().outcome == "not_sent"
        assert claude.requests == []

    @pytest.mark.parametrize("status", [429, 529])
    def test_submitting_to_queued_when_refused_before_work(self, claude: ClaudeEmulator, status: int) -> None:
        with Relay(claude.url) as relay:
            relay.on("POST", "/batches", refuse(status, "rate_limit_error", "Slow down.", retry_after="120"))
            batch = services.advance(services.submit(draft(1)))
            assert relay.calls("POST", "/batches") == 1
        assert (batch.state, batch.failures) == (State.QUEUED, 1)
        assert "Slow down." in batch.last_error
        assert (batch.next_action_at - batch.queued_at).total_seconds() > 100

    def test_submitting_to_rejected(self, claude: ClaudeEmulator) -> None:
        with Relay(claude.url) as relay:
            relay.on("POST", "/batches", refuse(400, "invalid_request_error", "requests.0: no"))
            batch = services.advance(services.submit(draft(1)))
        assert (batch.state, batch.last_error) == (State.REJECTED, "requests.0: no")
        attempt = batch.attempts.get()
        assert (attempt.outcome, attempt.http_status, attempt.api_request_id) == ("refused", 400, "req_011relay")

    def test_submitting_to_uncertain(self, claude: ClaudeEmulator) -> None:
        with Relay(claude.url) as relay:
            batch = lost_create(relay, draft(1))
        assert batch.state == State.UNCERTAIN
        assert len(claude.batches) == 1

    def test_uncertain_to_in_progress_by_proof(self, claude: ClaudeEmulator) -> None:
        with Relay(claude.url) as relay:
            batch = lost_create(relay, draft(1))
        claude.finish()
        services.adopt(claude.batches[0].id, for_batch=batch)
        assert (batch.state, batch.anthropic_id) == (State.IN_PROGRESS, claude.batches[0].id)

    @pytest.mark.parametrize(("setting", "state"), [("retry", State.QUEUED), ("hold", State.HELD)])
    def test_uncertain_to_queued_or_held_by_a_late_refusal(self, settings: Any, setting: str, state: State) -> None:
        settings.CLAUDE_BATCHES = {"ON_NOT_CREATED": setting}
        batch = in_state(State.UNCERTAIN)
        refused_late(batch)
        assert (batch.state, batch.attempts.get().outcome) == (state, "refused")

    def test_uncertain_to_draft_when_not_received_and_cancel_wished(self) -> None:
        batch = services.cancel(in_state(State.UNCERTAIN))
        refused_late(batch)
        assert (batch.state, batch.cancel_requested_at) == (State.DRAFT, None)

    def test_a_late_refusal_of_an_overtaken_attempt_changes_nothing(self) -> None:
        batch = in_state(State.UNCERTAIN)
        late = batch.attempts.get()
        SubmitAttempt.objects.create(
            batch=batch, number=2, tag="second", recorded_at=late.recorded_at, outcome="uncertain"
        )
        refused_late(batch, late)
        assert batch.state == State.UNCERTAIN

    def test_uncertain_to_abandoned_and_back_by_a_late_proof(self, claude: ClaudeEmulator) -> None:
        with Relay(claude.url) as relay:
            batch = lost_create(relay, draft(1))
        services.abandon(batch)
        assert batch.state == State.ABANDONED
        services.abandon(batch)
        assert batch.events.filter(what="abandoned").count() == 1
        claude.finish()
        assert services.adopt(claude.batches[0].id, for_batch=batch).state == State.IN_PROGRESS

    @pytest.mark.parametrize("state", [s for s in State if s not in {"uncertain", "abandoned"}])
    def test_only_an_unconfirmed_batch_can_be_given_up(self, state: State) -> None:
        with pytest.raises(InvalidTransition, match="Sent, not confirmed"):
            services.abandon(in_state(state))

    def test_rejected_to_draft_by_correcting_it(self) -> None:
        batch = in_state(State.REJECTED)
        batch.requests.get().save()
        assert reread(batch).state == State.DRAFT

    def test_in_progress_over_canceling_to_ended_and_ingested(self, claude: ClaudeEmulator) -> None:
        batch = running()
        services.advance(services.cancel(batch))
        assert batch.state == State.CANCELING
        assert batch.cancel_initiated_at is not None
        claude.finish()
        services.advance(batch)
        assert (batch.state, batch.canceled_count) == (State.INGESTED, 3)
        assert batch.results.canceled().count() == 3

    def test_in_progress_to_ended_and_ingested(self, claude: ClaudeEmulator) -> None:
        batch = running()
        claude.finish()
        with Relay(claude.url) as relay:
            relay.on("GET", "/results", refuse(500), times=10)
            services.advance(batch)
            assert batch.state == State.ENDED
        services.advance(batch)
        assert batch.state == State.INGESTED

    def test_ended_to_incomplete_to_ingested(self, claude: ClaudeEmulator) -> None:
        batch = running()
        claude.finish()
        with Relay(claude.url) as relay:
            relay.on("GET", "/results", rewrite(lambda body: body.split(b"\n", 1)[1]))
            services.advance(batch)
        assert (batch.state, batch.missing_count, batch.results.count()) == (State.INCOMPLETE, 1, 2)
        assert "2 results came for 3 requests" in batch.last_error
        services.advance(batch)
        assert (batch.state, batch.missing_count, batch.last_error) == (State.INGESTED, 0, "")

    def test_incomplete_to_ingested_with_something_missing_after_the_last_try(
        self, claude: ClaudeEmulator, settings: Any
    ) -> None:
        settings.CLAUDE_BATCHES = {"INGEST_ATTEMPTS": 2}
        batch = running()
        claude.finish()
        with Relay(claude.url) as relay:
            relay.on("GET", "/results", rewrite(lambda body: body.split(b"\n", 1)[1]))
            services.advance(batch)
            assert batch.state == State.INCOMPLETE
            services.advance(batch)
        assert (batch.state, batch.missing_count, batch.results.count()) == (State.INGESTED, 1, 2)
        assert batch.requests.missing().count() == 1
        assert batch in MessageBatch.objects.needing_attention()

    @pytest.mark.parametrize("state", [State.ENDED, State.INCOMPLETE])
    def test_to_lost_when_archived(self, claude: ClaudeEmulator, state: State) -> None:
        batch = running()
        claude.finish()
        with Relay(claude.url) as relay:
            relay.on("GET", "/results", refuse(500))
            services.advance(batch)
        MessageBatch.objects.filter(pk=batch.pk).update(state=state)
        claude.archive(str(batch.anthropic_id))
        services.advance(batch)
        assert (batch.state, batch.missing_count) == (State.LOST, 3)

    @pytest.mark.parametrize("state", [State.INGESTED, State.LOST, State.ABANDONED])
    def test_final_states_stay(self, claude: ClaudeEmulator, state: State) -> None:
        assert services.advance(in_state(state)).state == state
        assert claude.requests == []


REFUSED = "InvalidTransition"
NOTHING = "nothing to cancel"
RECORDED = "recorded"
TO_DRAFT = "draft"
UNCHANGED = "unchanged"

WISHES = {
    State.DRAFT: (REFUSED, REFUSED),
    State.REJECTED: (REFUSED, REFUSED),
    State.HELD: (REFUSED, REFUSED),
    State.ABANDONED: (REFUSED, REFUSED),
    State.QUEUED: (TO_DRAFT, REFUSED),
    State.SUBMITTING: (RECORDED, RECORDED),
    State.UNCERTAIN: (RECORDED, RECORDED),
    State.IN_PROGRESS: (RECORDED, RECORDED),
    State.CANCELING: (UNCHANGED, RECORDED),
    State.ENDED: (NOTHING, RECORDED),
    State.INCOMPLETE: (NOTHING, RECORDED),
    State.INGESTED: (NOTHING, RECORDED),
    State.LOST: (NOTHING, RECORDED),
}


class TestWishes:
    @pytest.mark.parametrize("state", State)
    def test_cancel(self, state: State) -> None:
        self.check(services.cancel, "cancel_requested_at", in_state(state), WISHES[state][0])

    @pytest.mark.parametrize("state", State)
    def test_delete_remote(self, state: State) -> None:
        self.check(services.delete_remote, "delete_requested_at", in_state(state), WISHES[state][1])

    def check(self, verb: Any, column: str, batch: MessageBatch, expected: str) -> None:
        state = batch.state
        if expected in {REFUSED, NOTHING}:
            with pytest.raises(InvalidTransition, match=str(State(state).label)) as caught:
                verb(batch)
            assert ("nothing is left to cancel" in str(caught.value)) == (expected == NOTHING)
            assert getattr(reread(batch), column) is None
            return
        events = batch.events.count()
        verb(batch)
        assert batch.state == (State.DRAFT if expected == TO_DRAFT else state)
        assert (getattr(batch, column) is not None) == (expected == RECORDED)
        assert batch.events.count() == events + (expected != UNCHANGED)
        if expected == RECORDED:
            assert batch.next_action_at is not None
            verb(batch)
            assert batch.events.count() == events + 1, "a repeated wish does nothing"

    def test_a_wish_is_only_a_row(self, claude: ClaudeEmulator) -> None:
        """Inside your transaction the row is the outbox: rolled back, nothing happens; and there is no HTTP."""
        batch = running()
        calls = len(claude.requests)
        with transaction.atomic():
            services.cancel(batch)
            services.delete_remote(batch)
            transaction.set_rollback(True)
        assert reread(batch).cancel_requested_at is None
        assert len(claude.requests) == calls

    def test_canceling_what_turns_up(self, claude: ClaudeEmulator) -> None:
        with Relay(claude.url) as relay:
            batch = lost_create(relay, draft(2))
        services.cancel(batch)
        assert batch.state == State.UNCERTAIN
        claude.finish()
        services.advance(services.adopt(claude.batches[0].id, for_batch=batch))
        assert batch.state == State.INGESTED

    @pytest.mark.parametrize("state", [State.IN_PROGRESS, State.CANCELING])
    def test_delete_remote_cancels_ingests_then_deletes(self, claude: ClaudeEmulator, state: State) -> None:
        batch = running()
        if state == State.CANCELING:
            services.advance(services.cancel(batch))
        services.advance(services.delete_remote(batch))
        assert batch.state == State.CANCELING
        claude.finish()
        services.advance(batch)
        assert batch.state == State.INGESTED
        assert batch.remote_deleted_at is not None
        assert batch.results.count() == 3
        assert claude.batches[0].deleted

    @pytest.mark.parametrize("discard", slow_but(2, [False, True]))
    @pytest.mark.parametrize("state", slow_but(2, [State.ENDED, State.INCOMPLETE]))
    def test_delete_remote_after_ingestion_unless_discarded(
        self, claude: ClaudeEmulator, state: State, discard: bool
    ) -> None:
        batch = running()
        claude.finish()
        with Relay(claude.url) as relay:
            relay.on("GET", "/results", refuse(500))
            services.advance(batch)
        MessageBatch.objects.filter(pk=batch.pk).update(state=state)
        services.advance(services.delete_remote(batch, discard_results=discard))
        assert batch.state == (State.LOST if discard else State.INGESTED)
        assert batch.results.count() == (0 if discard else 3)
        assert claude.batches[0].deleted

    @pytest.mark.parametrize("state", [State.INGESTED, State.LOST])
    def test_delete_remote_now_when_final(self, claude: ClaudeEmulator, state: State) -> None:
        batch = running()
        claude.finish()
        services.advance(batch)
        MessageBatch.objects.filter(pk=batch.pk, state=State.INGESTED).update(
            state=state, ingested_at=batch.ingested_at if state == State.INGESTED else None
        )
        services.advance(services.delete_remote(batch))
        assert (batch.state, claude.batches[0].deleted) == (state, True)
        assert batch.remote_deleted_at is not None
        assert batch.next_action_at is None
        assert services.delete_remote(batch).events.filter(what="delete_requested").count() == 1


class TestConstraints:
    """The state and the facts cannot disagree."""

    @pytest.mark.parametrize("state", [*sorted(ALWAYS_DUE), State.INGESTED])
    def test_what_must_be_due_is_due(self, state: State) -> None:
        batch = in_state(state)
        with pytest.raises(IntegrityError), transaction.atomic():
            MessageBatch.objects.filter(pk=batch.pk).update(next_action_at=None, announced_at=None)

    @pytest.mark.parametrize("state", State)
    def test_an_id_and_only_an_id_makes_it_remote(self, state: State) -> None:
        batch = in_state(state)
        other = None if state in REMOTE else "msgbatch_x"
        with pytest.raises(IntegrityError), transaction.atomic():
            MessageBatch.objects.filter(pk=batch.pk).update(anthropic_id=other)

    def test_no_other_state_can_be_written(self) -> None:
        batch = draft(1)
        with pytest.raises(IntegrityError), transaction.atomic():
            MessageBatch.objects.filter(pk=batch.pk).update(state="paused")

    def test_a_lease_has_a_token_and_an_end(self) -> None:
        batch = draft(1)
        with pytest.raises(IntegrityError), transaction.atomic():
            MessageBatch.objects.filter(pk=batch.pk).update(lease_token="x")


def reread(batch: MessageBatch) -> MessageBatch:
    return MessageBatch.objects.get(pk=batch.pk)


def refused_late(batch: MessageBatch, attempt: SubmitAttempt | None = None) -> None:
    """A sender that was taken for lost hears after all that nothing was begun."""
    error = RateLimitError("Slow down.", status_code=429, type="rate_limit_error", about=About.NOTHING_DONE)
    close_attempt.record_error(batch, attempt or batch.attempts.get(), error)
    batch.refresh_from_db()
