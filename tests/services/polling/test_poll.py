from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.conf import ConfigurationError
from django_claude_batches.exceptions import RateLimitError
from django_claude_batches.models import AccountState, MessageBatch, State
from django_claude_batches.services.backoff import backoff, honor_retry_after, poll_delay
from django_claude_batches.services.engine import advance_if_due, tick
from django_claude_batches.services.mirror import mirror_columns, moment
from django_claude_batches.services.polling import poll
from django_claude_batches.services.polling.poll_account import poll_account, schedule_next_polls
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import draft, in_state, make_due, running
from tests.harness.relay import Relay, refuse, rewrite

pytestmark = pytest.mark.django_db


def change(**keys: Any) -> Any:
    return rewrite(lambda body: json.dumps({**json.loads(body), **keys}).encode())


class TestOne:
    @pytest.mark.parametrize("status", [404, 429, 500, 529])
    @pytest.mark.database
    def test_an_error_changes_nothing_but_the_next_poll(self, claude: ClaudeEmulator, status: int) -> None:
        batch = running()
        with Relay(claude.url) as relay:
            relay.on("GET", str(batch.anthropic_id), refuse(status))
            services.advance(batch)
        assert batch.state == State.IN_PROGRESS
        assert str(status) in batch.last_error
        assert batch.next_action_at > timezone.now() + timedelta(seconds=20)
        assert services.advance(batch).last_error == ""

    def test_an_unknown_status_is_kept_and_changes_no_state(self, claude: ClaudeEmulator) -> None:
        batch = running()
        with Relay(claude.url) as relay:
            relay.on("GET", str(batch.anthropic_id), change(processing_status="pondering"))
            services.advance(batch)
        assert (batch.state, batch.processing_status) == (State.IN_PROGRESS, "pondering")
        claude.finish()
        assert services.advance(batch).state == State.INGESTED

    def test_an_older_answer_does_not_take_a_canceling_batch_back(self, claude: ClaudeEmulator) -> None:
        batch = running()
        with Relay(claude.url) as relay:
            relay.on("GET", str(batch.anthropic_id), rewrite(lambda body: body), times=1)
            services.advance(services.cancel(batch))
            assert batch.state == State.CANCELING
            relay.rules.clear()
            relay.on("GET", str(batch.anthropic_id), change(processing_status="in_progress", cancel_initiated_at=None))
            services.advance(batch)
        assert (batch.state, batch.processing_status) == (State.CANCELING, "canceling")
        assert batch.cancel_initiated_at is not None

    def test_canceling_is_asked_for_once(self, claude: ClaudeEmulator) -> None:
        batch = services.cancel(running())
        for _ in range(3):
            services.advance(batch)
        cancels = [request for request in claude.requests if request.path.endswith("/cancel")]
        assert len(cancels) == 1

    @pytest.mark.parametrize("status", [400, 500])
    def test_a_cancel_that_fails_is_asked_again(self, claude: ClaudeEmulator, status: int) -> None:
        batch = services.cancel(running())
        with Relay(claude.url) as relay:
            relay.on("POST", "/cancel", refuse(status), times=3)
            services.advance(batch)
            assert (batch.state, batch.cancel_requested_at is not None) == (State.IN_PROGRESS, True)
            relay.rules.clear()
            assert services.advance(batch).state == State.CANCELING

    def test_a_batch_that_ended_before_it_could_be_canceled_is_fetched(self, claude: ClaudeEmulator) -> None:
        batch = services.cancel(running())
        claude.finish()
        assert services.advance(batch).state == State.INGESTED
        assert batch.results.succeeded().count() == 3

    def test_a_cancel_that_is_refused_says_so_and_is_asked_less_and_less_often(self, claude: ClaudeEmulator) -> None:
        batch = services.cancel(running())
        with Relay(claude.url) as relay:
            relay.on("POST", "/cancel", refuse(409, "conflict_error"))
            for failures in (1, 2):
                services.advance(batch)
                assert (batch.state, batch.failures) == (State.IN_PROGRESS, failures)
                assert "conflict_error" in batch.last_error
        services.advance(batch)
        assert (batch.state, batch.last_error) == (State.CANCELING, "")

    @pytest.mark.parametrize("status", [404, 409, 422])
    def test_a_cancel_refused_in_any_way_because_it_ended_leads_to_the_results(
        self, claude: ClaudeEmulator, status: int
    ) -> None:
        """With which status is not known."""
        batch = services.cancel(running())
        claude.finish()
        with Relay(claude.url) as relay:
            relay.on("POST", "/cancel", refuse(status))
            services.advance(batch)
            services.advance(batch)
        assert batch.state == State.INGESTED

    def test_a_cancel_refused_because_it_ended_still_leads_to_the_results(self) -> None:
        with ClaudeEmulator(seed=2, cancel_ended="refused") as claude:
            batch = services.cancel(running())
            claude.finish()
            services.advance(batch)
            services.advance(batch)
        assert batch.state == State.INGESTED


@pytest.mark.database
class TestAll:
    @pytest.mark.slow
    def test_a_thousand_batches_cost_one_listing(self, claude: ClaudeEmulator) -> None:
        batches = [running(1) for _ in range(12)]
        claude.finish()
        for batch in batches:
            make_due(batch)
        calls = len(claude.requests)
        assert poll_account("default") == 12
        assert len(claude.requests) == calls + 1
        assert MessageBatch.objects.filter(state=State.ENDED).count() == 12

    @pytest.mark.slow
    @pytest.mark.database
    def test_what_runs_on_as_before_costs_a_few_statements_together(self, claude: ClaudeEmulator) -> None:
        batches = [running(1) for _ in range(40)]
        for batch in batches:
            services.advance(batch)
            make_due(batch)
        calls, before = len(claude.requests), timezone.now()
        with CaptureQueriesContext(connection) as queries:
            assert poll_account("default") == 40
        assert len(claude.requests) == calls + 1
        # One for each 5 seconds that the delays of 24 to 36 s are spread over, and those of the round itself.
        assert sum(query["sql"].startswith("UPDATE") for query in queries) <= 10
        times = MessageBatch.objects.values_list("next_action_at", flat=True)
        assert {at - before > timedelta(seconds=20) for at in times} == {True}
        assert len(set(times)) > 1

    @pytest.mark.database
    def test_a_wish_that_came_while_the_list_was_read_stays_due(self, claude: ClaudeEmulator) -> None:
        batch = running(1)
        wished = MessageBatch.objects.get()
        services.cancel(wished)
        schedule_next_polls([batch])
        wished.refresh_from_db()
        assert wished.next_action_at <= timezone.now()

    def test_only_what_is_due_is_touched(self, claude: ClaudeEmulator) -> None:
        late, early = running(1), running(1)
        claude.finish()
        make_due(late)
        tick(lambda pk: None)
        late.refresh_from_db()
        early.refresh_from_db()
        assert (late.state, early.state) == (State.ENDED, State.IN_PROGRESS)

    def test_what_the_listing_does_not_show_is_asked_for(
        self, claude: ClaudeEmulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        batch = running(1)
        claude.finish()
        make_due(batch)
        with Relay(claude.url) as relay:
            relay.on("GET", "/batches", change(data=[], has_more=False, first_id=None, last_id=None))
            assert poll_account("default") == 1
            assert relay.calls("GET", str(batch.anthropic_id)) == 1
        batch.refresh_from_db()
        assert batch.state == State.ENDED

    def test_pages_end_where_the_oldest_was_found(
        self, claude: ClaudeEmulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(poll.wire, "MAX_PAGE", 2)
        batches = [running(1) for _ in range(5)]
        for batch in batches[2:]:
            make_due(batch)
        calls = len(claude.requests)
        assert poll_account("default") == 3
        assert len(claude.requests) == calls + 2

    def test_one_that_is_gone_does_not_stop_the_others(self, claude: ClaudeEmulator) -> None:
        gone = in_state(State.IN_PROGRESS, created_at=timezone.now() - timedelta(hours=1))
        batch = running(1)
        claude.finish()
        make_due(gone)
        make_due(batch)
        assert poll_account("default") == 1
        gone.refresh_from_db()
        assert gone.state == State.IN_PROGRESS
        assert "404" in gone.last_error
        assert gone.next_action_at > timezone.now()

    def test_an_error_is_written_on_the_batches(self, claude: ClaudeEmulator) -> None:
        batch = running(1)
        make_due(batch)
        with Relay(claude.url) as relay:
            relay.on("GET", "/batches", refuse(500))
            assert poll_account("default") == 0
        batch.refresh_from_db()
        assert "500" in batch.last_error
        assert batch.next_action_at > timezone.now()

    def test_one_process_at_a_time(self, claude: ClaudeEmulator) -> None:
        batch = running(1)
        make_due(batch)
        state = AccountState.objects.get_or_create(alias="default")[0]
        token = AccountState.objects.acquire(state.pk)
        assert token
        calls = len(claude.requests)
        assert poll_account("default") == 0
        assert len(claude.requests) == calls
        AccountState.objects.release(state.pk, token)
        assert poll_account("default") == 1


@pytest.mark.database
class TestTick:
    def test_it_hands_out_what_is_due_and_polls_the_rest(self, claude: ClaudeEmulator) -> None:
        queued = services.submit(draft(1))
        polled = running(1)
        make_due(polled)
        wished = services.cancel(running(1))
        leased = services.submit(draft(1))
        MessageBatch.objects.acquire(leased.pk)
        later = services.submit(draft(1))
        MessageBatch.objects.filter(pk=later.pk).update(next_action_at=timezone.now() + timedelta(hours=1))
        draft(1)
        handed: list[int] = []
        assert tick(handed.append) == 2
        assert set(handed) == {queued.pk, wished.pk}
        polled.refresh_from_db()
        assert polled.next_action_at > timezone.now()

    def test_a_tick_is_noted_on_every_account(self, settings: Any, claude: ClaudeEmulator) -> None:
        settings.CLAUDE_BATCHES = {"ACCOUNTS": {"second": {"API_KEY": "sk-ant-second"}}}
        assert not AccountState.objects.ticking().exists()
        tick(lambda pk: None)
        assert set(AccountState.objects.ticking().values_list("alias", flat=True)) == {"default", "second"}
        assert claude.requests == [], "nothing is in flight, so nothing is asked"

    def test_the_whole_journey_by_ticks_alone(self, claude: ClaudeEmulator) -> None:
        batch = services.submit(draft(2))
        tick(advance_if_due)
        claude.finish()
        make_due(batch)
        tick(advance_if_due)
        batch.refresh_from_db()
        assert batch.state == State.INGESTED
        assert tick(advance_if_due) == 0

    def test_an_account_that_left_the_settings_is_said_on_its_batches(self, claude: ClaudeEmulator) -> None:
        batch = running(1)
        MessageBatch.objects.filter(pk=batch.pk).update(account="former")
        make_due(batch)
        tick(lambda pk: None)
        batch.refresh_from_db()
        assert 'Unknown account "former"' in batch.last_error
        with pytest.raises(ConfigurationError):
            services.advance(batch)


def test_times_are_read_as_the_api_writes_them() -> None:
    assert moment("2026-05-01T20:29:05.358585+00:00") == moment("2026-05-01T20:29:05.358585Z")
    assert moment("2026-05-01T20:29:05Z") is not None
    assert moment("2026-05-01T20:29:05.123456789Z") is not None
    for odd in (None, "", "yesterday", 7, "2026-05-01T20:29:05", "2026-99-01T00:00:00Z"):
        assert moment(odd) is None


def test_missing_counts_are_zero() -> None:
    mirror = mirror_columns(
        {"id": "msgbatch_1", "processing_status": "in_progress", "request_counts": {"succeeded": 2}}
    )  # type: ignore[typeddict-item]
    assert (mirror["succeeded_count"], mirror["processing_count"], mirror["created_at"]) == (2, 0, None)


def test_delays_are_bounded() -> None:
    hour = timedelta(hours=1)
    for _ in range(200):
        assert timedelta(seconds=24) <= poll_delay(timezone.now()) <= timedelta(seconds=36)
        assert timedelta(minutes=8) <= poll_delay(timezone.now() - 20 * hour) <= timedelta(minutes=12)
        assert timedelta(seconds=24) <= backoff(0) <= timedelta(seconds=36)
        assert backoff(99) <= hour * 1.2
        assert honor_retry_after(RateLimitError("Slowly.", status_code=429, retry_after=7200), backoff(0)) == 2 * hour
        assert honor_retry_after(RateLimitError("Slowly.", status_code=429, retry_after=1e9), backoff(0)) == 24 * hour
        assert honor_retry_after(RateLimitError("Slowly.", status_code=429, retry_after=1), hour) == hour
        assert honor_retry_after(None, hour) == hour
