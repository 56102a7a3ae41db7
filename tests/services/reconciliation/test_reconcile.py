"""A create call whose answer was lost: found by its tag, or proved not received; never paid for twice."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.client import BatchesClient
from django_claude_batches.exceptions import InvalidRequest, InvalidTransition
from django_claude_batches.models import AccountState, BatchResult, MessageBatch, RemoteBatch, State, SubmitAttempt
from django_claude_batches.services.engine import advance_if_due, tick
from django_claude_batches.services.reconciliation.late_arrivals import watch_due
from django_claude_batches.services.submission import close_attempt
from django_claude_batches.services.submission.acceptance import logger as accepting_logger
from django_claude_batches.signals import duplicate_detected
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import draft, in_state, item, let_ten_minutes_pass, make_due, running
from tests.harness.relay import Exchange, Relay, cut, lose_answer, lose_request, refuse, rewrite
from tests.harness.selections import slow_but
from tests.reliability.protocol.processes import Crash, dying

pytestmark = [pytest.mark.django_db, pytest.mark.database]

QUIET = timedelta(minutes=50)
"""SEND_DEADLINE, the read timeout and SUBMIT_QUIET_PERIOD, at their defaults."""


def lost(claude: ClaudeEmulator, count: int = 3, rule: Any = lose_answer) -> MessageBatch:
    with Relay(claude.url) as relay:
        relay.on("POST", "/batches", rule, times=1)
        batch = services.advance(services.submit(draft(count)))
    assert batch.state == State.UNCERTAIN
    return batch


def stranger(claude: ClaudeEmulator, count: int = 3, tag: str = "", key: str = "") -> str:
    """A batch that somebody else made; with a tag, one of ours that arrived late."""
    client = BatchesClient(api_key=key or claude.api_key, base_url=claude.url)
    prefix = f"{tag}_" if tag else ""
    requests = [{**item(number), "custom_id": f"{prefix}r-{number}"} for number in range(count)]
    created = client.create(requests)
    client.close()
    return created["id"]


def age(batch: MessageBatch, by: timedelta = QUIET + timedelta(minutes=1)) -> None:
    """Let it have been sent so long ago."""
    batch.attempts.filter(sent_at__isnull=False).update(sent_at=timezone.now() - by)


def search(batch: MessageBatch, times: int = 3) -> MessageBatch:
    """Search so often, ten minutes apart."""
    for _ in range(times):
        make_due(batch)
        let_ten_minutes_pass()
        tick(advance_if_due)
    batch.refresh_from_db()
    return batch


class TestFound:
    def test_by_its_tag_when_it_has_ended(self, claude: ClaudeEmulator) -> None:
        batch = lost(claude)
        search(batch)
        assert batch.state == State.UNCERTAIN
        candidate = batch.attempts.get().candidates[0]
        assert candidate["id"] == claude.batches[0].id
        assert "only its results can prove" in candidate["why"]
        assert claude.batches[0].id in batch.last_error
        claude.finish()
        search(batch, 2)
        assert (batch.state, batch.results.filter(request__isnull=False).count()) == (State.INGESTED, 3)
        assert len(claude.batches) == 1
        assert batch.attempts.get().candidates == []

    def test_among_others_of_the_same_size(self, claude: ClaudeEmulator) -> None:
        stranger(claude)
        batch = lost(claude)
        others = [stranger(claude) for _ in range(3)]
        claude.finish()
        services.advance(batch)
        assert (batch.state, batch.anthropic_id) == (State.INGESTED, claude.batches[1].id)
        foreign = RemoteBatch.objects.filter(is_foreign=True).values_list("remote_id", flat=True)
        assert set(foreign) <= set(others)

    def test_a_second_one_of_another_attempt_is_not_it(self, claude: ClaudeEmulator) -> None:
        """A proxy repeated a create call: what the other attempt has twice is no candidate of this one."""
        first = lost(claude)
        claude.finish()
        services.advance(first)
        batch = lost(claude, rule=lose_request)
        twice = stranger(claude, tag=first.attempts.get().tag)
        claude.finish()
        services.advance(batch)
        assert RemoteBatch.objects.get(remote_id=twice).is_foreign
        assert batch.attempts.get().candidates == []

    @pytest.mark.parametrize("count", [1, 3])
    def test_behind_lines_that_are_nobodys(self, claude: ClaudeEmulator, count: int) -> None:
        batch = lost(claude, count)
        claude.finish()
        claude.fault("foreign_line", count=count, times=None)
        age(batch)
        search(batch)
        assert (batch.state, batch.anthropic_id) == (State.INGESTED, claude.batches[0].id)
        assert len(claude.batches) == 1

    def test_by_the_search_for_another_batch(self, claude: ClaudeEmulator) -> None:
        first, second = lost(claude), lost(claude)
        claude.finish()
        services.advance(first)
        services.advance(second)
        assert {first.state, second.state} == {State.INGESTED}
        assert first.anthropic_id == claude.batches[0].id
        assert second.anthropic_id == claude.batches[1].id

    def test_although_somebody_adopted_it(self, claude: ClaudeEmulator) -> None:
        batch = lost(claude)
        adopted = services.adopt(claude.batches[0].id)
        claude.finish()
        services.advance(adopted)
        assert adopted.results.count() == 3
        services.advance(batch)
        assert (batch.state, batch.anthropic_id) == (State.INGESTED, claude.batches[0].id)
        assert list(MessageBatch.objects.all()) == [batch]

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer at a time")
    def test_although_its_results_are_being_stored_for_who_adopted_it(self, claude: ClaudeEmulator) -> None:
        """The row that goes must not leave behind what another process commits while it is deleted."""
        batch = lost(claude)
        adopted = services.adopt(claude.batches[0].id)
        claude.finish()
        token = str(MessageBatch.objects.acquire(adopted.pk))

        def take_over() -> None:
            try:
                services.advance(batch)
            finally:
                connection.close()

        with ThreadPoolExecutor(1) as pool:
            with transaction.atomic():
                assert MessageBatch.objects.renew(adopted.pk, token)
                BatchResult.objects.create(batch=adopted, custom_id="late", result_type="canceled")
                other = pool.submit(take_over)
                time.sleep(2)
                assert not other.done(), "it waits for the row"
            other.result()
        assert list(MessageBatch.objects.all()) == [batch]
        assert not BatchResult.objects.filter(batch_id=adopted.pk).exists()

    def test_and_canceled_if_that_was_wished(self, claude: ClaudeEmulator) -> None:
        batch = services.cancel(lost(claude))
        claude.expire(claude.batches[0].id)
        services.advance(batch)
        assert batch.state == State.INGESTED
        assert batch.results.expired().count() == 3

    def test_and_deleted_if_that_was_wished(self, claude: ClaudeEmulator) -> None:
        batch = services.delete_remote(lost(claude))
        claude.finish()
        services.advance(batch)
        assert (batch.state, claude.batches[0].deleted) == (State.INGESTED, True)


class TestNotReceived:
    def test_it_is_sent_again_with_a_new_tag_and_only_then(self, claude: ClaudeEmulator) -> None:
        batch = lost(claude, rule=lose_request)
        search(batch, 4)
        assert (batch.state, batch.attempts.get().listings_made) == (State.UNCERTAIN, 0)
        age(batch, QUIET - timedelta(minutes=1))
        assert search(batch).state == State.UNCERTAIN
        age(batch)
        assert search(batch, 1).state == State.UNCERTAIN, "both listings have to begin after the quiet period"
        assert search(batch, 1).state == State.IN_PROGRESS
        first, second = batch.attempts.all()
        assert (first.outcome, second.outcome) == ("not_received", "accepted")
        assert first.tag != second.tag
        assert len(claude.batches) == 1

    def test_a_call_keeps_the_waits_that_it_was_made_with(self, claude: ClaudeEmulator, settings: Any) -> None:
        batch = lost(claude, rule=lose_request)
        settings.CLAUDE_BATCHES = {"SEND_DEADLINE": 60, "CREATE_READ_TIMEOUT": 60}
        age(batch, QUIET - timedelta(minutes=1))
        assert search(batch).state == State.UNCERTAIN
        age(batch)
        assert search(batch).state == State.IN_PROGRESS

    @pytest.mark.slow
    def test_shorter_waits_count_from_the_next_call_on(self, claude: ClaudeEmulator, settings: Any) -> None:
        settings.CLAUDE_BATCHES = {"SEND_DEADLINE": 60, "CREATE_READ_TIMEOUT": 60, "SUBMIT_QUIET_PERIOD": 600}
        batch = lost(claude, rule=lose_request)
        attempt = batch.attempts.get()
        assert abs(attempt.window_until - attempt.sent_at - timedelta(minutes=28)) < timedelta(seconds=10)
        age(batch, timedelta(minutes=11))
        assert search(batch).state == State.UNCERTAIN
        age(batch, timedelta(minutes=13))
        assert search(batch).state == State.IN_PROGRESS

    def test_one_listing_is_not_enough(self, claude: ClaudeEmulator) -> None:
        batch = lost(claude, rule=lose_request)
        age(batch)
        search(batch, 1)
        assert batch.state == State.UNCERTAIN
        services.advance(batch)
        assert (batch.state, batch.attempts.get().listings_made) == (State.UNCERTAIN, 1), "not ten minutes apart"
        search(batch, 2)
        assert batch.state == State.IN_PROGRESS

    def test_it_is_held_if_the_settings_say_so(self, claude: ClaudeEmulator, settings: Any) -> None:
        settings.CLAUDE_BATCHES = {"ON_NOT_CREATED": "hold"}
        batch = lost(claude, rule=lose_request)
        age(batch)
        assert search(batch).state == State.HELD
        assert claude.batches == []
        assert services.advance(services.submit(batch)).state == State.IN_PROGRESS

    def test_it_becomes_a_draft_if_it_was_not_wanted_any_more(self, claude: ClaudeEmulator) -> None:
        batch = services.cancel(lost(claude, rule=lose_request))
        age(batch)
        assert search(batch).state == State.DRAFT
        assert claude.batches == []

    @pytest.mark.slow
    def test_strangers_are_excluded_by_proof(self, claude: ClaudeEmulator) -> None:
        batch = lost(claude, rule=lose_request)
        other = stranger(claude)
        stranger(claude, 5)
        age(batch)
        assert search(batch).state == State.UNCERTAIN, "while it runs, the stranger may be ours"
        claude.finish()
        assert search(batch, 1).state == State.UNCERTAIN, "its few results have to be read twice"
        assert not RemoteBatch.objects.filter(is_foreign=True).exists()
        search(batch, 4)
        assert batch.state in {State.IN_PROGRESS, State.QUEUED}
        assert RemoteBatch.objects.get(remote_id=other).is_foreign

    @pytest.mark.slow
    def test_a_baseline_that_was_deleted_hides_nothing(self, claude: ClaudeEmulator) -> None:
        older, newest = running(), running()
        claude.finish()
        services.advance(newest)
        batch = lost(claude, rule=lose_request)
        assert batch.attempts.get().baseline_id == newest.anthropic_id
        client = BatchesClient(api_key=claude.api_key, base_url=claude.url)
        client.delete(str(newest.anthropic_id))
        client.close()
        age(batch)
        assert search(batch, 1).attempts.get().listings_made == 0, "one 404 may pass"
        search(batch, 6)
        assert batch.state == State.IN_PROGRESS
        assert older.pk


class TestProvesNothing:
    """What leaves it uncertain, for however long."""

    @pytest.mark.parametrize(
        "rule",
        slow_but(
            2,
            [
                refuse(404, "not_found_error"),
                refuse(500),
                rewrite(lambda body: b""),
                rewrite(lambda body: b"not json\n" * 30),
                rewrite(lambda body: body.split(b"\n")[0] + b"\n"),
                cut(lambda body: body[: len(body) // 2]),
            ],
        ),
        ids=["404", "500", "empty", "unreadable", "short", "cut"],
    )
    def test_results_that_cannot_be_read(self, claude: ClaudeEmulator, rule: Callable[..., None]) -> None:
        batch = lost(claude)
        claude.finish()
        age(batch)
        with Relay(claude.url) as relay:
            relay.on("GET", "/results", rule)
            relay.on("POST", "/batches", lose_answer)
            search(batch)
            if batch.state != State.UNCERTAIN:
                assert batch.anthropic_id == claude.batches[0].id, "the tag stood in the first line"
            assert relay.calls("POST", "/batches") == 0
        assert len(claude.batches) == 1

    def test_a_key_of_another_workspace(self, claude: ClaudeEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
        running()
        batch = lost(claude)
        claude.add_key("sk-ant-other", workspace_id="wrkspc_other")
        stranger(claude, 9, key="sk-ant-other")
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-other")
        age(batch)
        search(batch)
        assert batch.state == State.UNCERTAIN
        assert "does not show" in batch.last_error
        assert len([remote for remote in claude.batches if len(remote.custom_ids) == 3]) == 2

    def test_another_server_by_the_same_key(self, claude: ClaudeEmulator) -> None:
        """A gateway that names no Workspace, and lists what was made through it."""
        running()
        batch = lost(claude)
        age(batch)
        with ClaudeEmulator(seed=2, api_key=claude.api_key) as other, Relay(other.url) as gateway:
            gateway.on("GET", "/batches", nameless)
            search(batch)
            assert (batch.state, other.batches) == (State.UNCERTAIN, [])
        assert "does not show" in batch.last_error

    @pytest.mark.parametrize("status", slow_but(1, [401, 429, 500]))
    def test_a_listing_that_fails(self, claude: ClaudeEmulator, status: int) -> None:
        batch = lost(claude)
        age(batch)
        with Relay(claude.url) as relay:
            relay.on("GET", "/batches", refuse(status))
            search(batch)
        assert (batch.state, batch.attempts.get().listings_made) == (State.UNCERTAIN, 0)
        assert str(status) in batch.last_error


class TestWatching:
    """What turns up when nobody waits for it any more."""

    def look(self) -> None:
        let_ten_minutes_pass()
        AccountState.objects.update(next_watch_at=None)
        watch_due()

    def test_a_late_batch_is_a_duplicate_and_both_ids_are_kept(
        self, claude: ClaudeEmulator, caplog: pytest.LogCaptureFixture
    ) -> None:
        told: list[MessageBatch] = []
        duplicate_detected.connect(hear := lambda batch, **kwargs: told.append(batch))
        batch = lost(claude, rule=lose_request)
        age(batch)
        search(batch)
        late = stranger(claude, tag=batch.attempts.first().tag)
        claude.finish()
        self.look()
        duplicate_detected.disconnect(hear)
        batch.refresh_from_db()
        assert batch.anthropic_id == claude.batches[0].id
        assert set(batch.attempts.values_list("remote_id", flat=True)) == {claude.batches[0].id, late}
        assert told == [batch]
        assert accepting_logger.name in {record.name for record in caplog.records if record.levelname == "CRITICAL"}
        self.look()
        assert batch.events.filter(what="duplicate").count() == 1

    @pytest.mark.parametrize("meanwhile", ["given up", "held"])
    def test_a_late_batch_revives_a_row_that_has_none(
        self, claude: ClaudeEmulator, settings: Any, meanwhile: str
    ) -> None:
        settings.CLAUDE_BATCHES = {"ON_NOT_CREATED": "hold"}
        batch = lost(claude, rule=lose_request)
        if meanwhile == "given up":
            services.abandon(batch)
        else:
            age(batch)
            assert search(batch).state == State.HELD
        late = stranger(claude, tag=batch.attempts.get().tag)
        claude.finish()
        self.look()
        batch.refresh_from_db()
        assert (batch.anthropic_id, batch.attempts.get().outcome) == (late, "accepted")
        assert services.advance(batch).state == State.INGESTED

    @pytest.mark.slow
    def test_a_process_that_dies_at_the_proof_hides_nothing(self, claude: ClaudeEmulator) -> None:
        """Before any of its statements: whoever looks next finds the batch, and the row has it."""
        survived = []
        for at in range(1, 60):
            batch = services.abandon(lost(claude, 1))
            claude.finish()
            AccountState.objects.update(next_watch_at=None, lease_until=None)
            try:
                with dying(at):
                    watch_due()
                survived.append(at)
            except Crash:
                pass
            AccountState.objects.update(next_watch_at=None, lease_until=None)
            watch_due()
            batch.refresh_from_db()
            assert batch.state != State.ABANDONED, f"died before statement {at}"
            assert batch.anthropic_id == claude.batches[-1].id
            if survived:
                break
        assert survived

    def test_it_ends_after_a_day(self, claude: ClaudeEmulator) -> None:
        batch = services.abandon(lost(claude))
        claude.finish()
        batch.attempts.update(watch_until=timezone.now() - timedelta(seconds=1))
        self.look()
        batch.refresh_from_db()
        assert batch.state == State.ABANDONED

    def test_it_costs_one_listing_in_ten_minutes(self, claude: ClaudeEmulator) -> None:
        for _ in range(3):
            services.abandon(lost(claude))
        calls = len(claude.requests)
        for _ in range(5):
            watch_due()
        assert len(claude.requests) == calls + 1


def nameless(exchange: Exchange) -> None:
    status, headers, body = exchange.forward()
    kept = {name: value for name, value in headers.items() if name.lower() != "anthropic-workspace-id"}
    exchange.reply = (status, kept, body)


class TestClaiming:
    def test_what_a_person_says_is_verified_by_a_worker(self, claude: ClaudeEmulator) -> None:
        batch, other = services.abandon(lost(claude)), stranger(claude)
        calls = len(claude.requests)
        services.identify(batch, other)
        assert len(claude.requests) == calls
        claude.finish()
        advance_if_due(batch.pk)
        batch.refresh_from_db()
        assert (batch.state, batch.identified_id) == (State.ABANDONED, "")
        assert "bear no tag of ours" in batch.last_error
        assert batch.events.last().what == "identification_refused"
        services.advance(services.identify(batch, claude.batches[0].id))
        assert (batch.state, batch.anthropic_id) == (State.INGESTED, claude.batches[0].id)

    @pytest.mark.slow
    @pytest.mark.parametrize("state", [State.UNCERTAIN, State.ABANDONED])
    def test_one_that_still_runs_is_verified_when_it_has_ended(self, claude: ClaudeEmulator, state: State) -> None:
        batch = lost(claude)
        batch = batch if state == State.UNCERTAIN else services.abandon(batch)
        remote_id = claude.batches[0].id
        services.identify(batch, remote_id)
        for _ in range(3):
            make_due(batch)
            advance_if_due(batch.pk)
            batch.refresh_from_db()
            assert (batch.state, batch.identified_id) == (state, remote_id)
            assert batch.next_action_at > timezone.now()
        assert [event.what for event in batch.events.filter(what__startswith="identif")] == [
            "identification_requested",
            "identification_pending",
        ]
        claude.finish()
        make_due(batch)
        advance_if_due(batch.pk)
        batch.refresh_from_db()
        assert (batch.state, batch.anthropic_id) == (State.INGESTED, remote_id)
        assert batch.events.filter(what="identification_refused").count() == 0

    def test_another_batch_that_still_runs_is_refused_when_it_has_ended(self, claude: ClaudeEmulator) -> None:
        batch, other = services.abandon(lost(claude)), stranger(claude)
        services.advance(services.identify(batch, other))
        assert batch.identified_id == other
        claude.finish()
        services.advance(batch)
        assert (batch.state, batch.identified_id, batch.next_action_at) == (State.ABANDONED, "", None)
        assert batch.events.last().what == "identification_refused"

    def test_a_claim_outlives_an_answer_that_does_not_come(self, claude: ClaudeEmulator) -> None:
        batch, remote_id = services.abandon(lost(claude)), claude.batches[0].id
        claude.finish()
        services.identify(batch, remote_id)
        with Relay(claude.url) as relay:
            relay.on("GET", remote_id, refuse(500))
            services.advance(batch)
        assert (batch.state, batch.identified_id, batch.next_action_at is None) == (State.ABANDONED, remote_id, False)
        assert services.advance(batch).anthropic_id == remote_id

    def test_one_that_is_found_meanwhile_is_claimed_no_more(self, claude: ClaudeEmulator) -> None:
        """Its prompts are kept while it is verified, and not for ever."""
        batch = services.abandon(lost(claude))
        services.advance(services.identify(batch, claude.batches[0].id))
        assert batch.identified_id
        claude.finish()
        watch_due()
        batch.refresh_from_db()
        assert (batch.anthropic_id, batch.identified_id) == (claude.batches[0].id, "")

    def test_while_it_is_verified_the_search_proves_nothing(self, claude: ClaudeEmulator) -> None:
        """A listing may lag; then what a person has seen in the Console is all that speaks against a second payment."""
        batch = lost(claude)
        age(batch)
        remote_id = claude.batches[0].id

        def empty(exchange: Exchange) -> None:
            status, headers, _body = exchange.forward()
            exchange.reply = (status, headers, b'{"data": [], "has_more": false, "first_id": null, "last_id": null}')

        with Relay(claude.url) as relay:
            relay.on("GET", "/batches", empty)
            services.identify(batch, remote_id)
            search(batch)
            assert relay.calls("POST", "/batches") == 0
        assert batch.identified_id == remote_id
        claude.finish()
        make_due(batch)
        services.advance(batch)
        assert (batch.state, batch.anthropic_id) == (State.INGESTED, remote_id)

    def test_one_that_comes_while_the_search_ends_is_verified_before_anything_is_sent(self) -> None:
        batch = in_state(State.UNCERTAIN)
        MessageBatch.objects.update(identified_id="msgbatch_01x")  # since the search read the row
        SubmitAttempt.objects.update(listings_made=2)
        assert not close_attempt.record_not_received(batch, batch.attempts.get())
        assert (batch.state, batch.identified_id, batch.next_action_at is None) == (State.HELD, "msgbatch_01x", False)

    def test_one_that_is_given_up_is_verified_all_the_same(self, claude: ClaudeEmulator) -> None:
        batch = lost(claude)
        services.identify(batch, claude.batches[0].id)
        services.abandon(batch)
        assert batch.next_action_at is not None
        claude.finish()
        advance_if_due(batch.pk)
        batch.refresh_from_db()
        assert (batch.state, batch.anthropic_id) == (State.INGESTED, claude.batches[0].id)

    def test_nothing_is_sent_or_changed_while_it_is_verified(self) -> None:
        batch = in_state(State.HELD, identified_id="msgbatch_01x")
        with pytest.raises(InvalidTransition, match="a worker verifies that it is msgbatch_01x"):
            services.submit(batch)
        with pytest.raises(InvalidTransition, match="not being identified"):
            batch.requests.get().save()
        batch.refresh_from_db()
        assert (batch.state, batch.identified_id) == (State.HELD, "msgbatch_01x")

    def test_another_count_says_nothing(self, claude: ClaudeEmulator) -> None:
        batch = services.abandon(lost(claude))
        other = stranger(claude, 5)
        services.advance(services.identify(batch, other))
        assert (batch.identified_id, batch.events.last().what) == (other, "identification_pending")
        claude.finish()
        services.advance(batch)
        assert (batch.identified_id, batch.events.last().what) == ("", "identification_refused")

    def test_only_an_id_and_only_where_one_is_missing(self) -> None:
        with pytest.raises(InvalidRequest, match="msgbatch_01"):
            services.identify(in_state(State.UNCERTAIN), "this one")
        with pytest.raises(InvalidTransition, match="Sent, not confirmed"):
            services.identify(in_state(State.INGESTED), "msgbatch_01x")


class TestAdoptingAll:
    def test_what_may_be_ours_is_left_out(self, claude: ClaudeEmulator) -> None:
        older = stranger(claude)
        batch, known = lost(claude), running(2)
        newer, other = stranger(claude), stranger(claude, 5)
        adopted, left_out = services.adopt_all()
        assert {row.anthropic_id for row in adopted} == {older}
        assert set(left_out) == {claude.batches[1].id, newer, other}, "whatever they count"
        assert known.anthropic_id not in left_out
        assert services.adopt_all() == ([], left_out)
        claude.finish()
        assert services.advance(batch).anthropic_id == claude.batches[1].id
        adopted, left_out = services.adopt_all()
        assert ({row.anthropic_id for row in adopted}, left_out) == ({newer, other}, [])


def test_attempts_are_never_reused(claude: ClaudeEmulator) -> None:
    batch = lost(claude, rule=lose_request)
    for _ in range(2):
        with Relay(claude.url) as relay:
            relay.on("POST", "/batches", lose_request)
            age(batch)
            search(batch)
            assert batch.state == State.UNCERTAIN
    tags = list(SubmitAttempt.objects.values_list("tag", flat=True))
    assert len(tags) == len(set(tags)) == 3
