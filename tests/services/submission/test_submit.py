"""At most one paid batch for each submission, counted on the server's side."""

from __future__ import annotations

import hashlib
import json
import resource
import time
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.client.request_body import DeadlineReader
from django_claude_batches.conf import ConfigurationError
from django_claude_batches.exceptions import InsideTransaction, InvalidTransition, SendDeadlinePassed
from django_claude_batches.models import AccountState, MessageBatch, State, SubmitAttempt
from django_claude_batches.services.engine import advance_if_due, tick
from django_claude_batches.services.submission import send
from django_claude_batches.signals import batch_failed, batch_submitted, duplicate_detected, submission_uncertain
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import draft, in_state, item, make_due
from tests.harness.relay import Exchange, Relay, lose_answer, lose_request, refuse, rewrite
from tests.harness.selections import slow_but
from tests.reliability.protocol.processes import Crash

pytestmark = pytest.mark.django_db


class Heard:
    """The signals that came, by name."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._receivers: list[Any] = []

    def listen(self, **signals: Any) -> Heard:
        for name, signal in signals.items():

            def hear(name: str = name, **_kwargs: Any) -> None:
                self.names.append(name)

            signal.connect(hear)
            self._receivers.append((signal, hear))
        return self

    def stop(self) -> None:
        for signal, receiver in self._receivers:
            signal.disconnect(receiver)


@pytest.fixture
def heard() -> Any:
    heard = Heard().listen(
        submitted=batch_submitted,
        failed=batch_failed,
        uncertain=submission_uncertain,
        duplicate=duplicate_detected,
    )
    yield heard
    heard.stop()


@pytest.mark.database
def test_what_is_sent_is_the_rows_with_tags(claude: ClaudeEmulator, heard: Heard) -> None:
    items = [item(0, system="é 😀 \u2028"), item(1)]
    batch = MessageBatch.objects.create_draft(
        items, betas=["output-300k-2026-03-24"], user_profile_id="up_1", anthropic_version="2026-10-21"
    )
    services.advance(services.submit(batch))
    attempt = batch.attempts.get()
    sent = claude.batches[0].requests
    assert [request["params"] for request in sent] == [it["params"] for it in items]
    assert [request["custom_id"] for request in sent] == [f"{attempt.tag}_r-0", f"{attempt.tag}_r-1"]
    assert len(attempt.tag) == 13
    create = next(request for request in claude.requests if request.method == "POST")
    assert create.body_bytes == batch.body_bytes == attempt.body_bytes
    assert create.headers["anthropic-beta"] == "output-300k-2026-03-24"
    assert create.headers["anthropic-user-profile-id"] == "up_1"
    assert create.headers["anthropic-version"] == "2026-10-21"
    assert create.headers["content-length"] == str(batch.body_bytes)
    assert attempt.api_request_id.startswith("req_")
    assert heard.names == ["submitted"]


def test_the_attempt_is_written_down_before_the_call(claude: ClaudeEmulator) -> None:
    older = services.advance(services.submit(draft(1)))
    batch = services.advance(services.submit(draft(1)))
    attempt = batch.attempts.get()
    assert attempt.baseline_id == older.anthropic_id
    assert attempt.baseline_created_at == older.created_at
    assert len(attempt.body_sha256) == len(hashlib.sha256().hexdigest())
    assert attempt.account_fingerprint
    assert claude.api_key not in str(vars(attempt))


LOST = {
    "answer lost": lose_answer,
    "request lost": lose_request,
    "500": refuse(500),
    "503": refuse(503),
    "504": refuse(504, "timeout_error"),
    "408": refuse(408),
    "409": refuse(409, "conflict_error"),
    "redirect": refuse(307, location="/elsewhere"),
    "an answer that is not a batch": rewrite(lambda body: b'{"id": 7}'),
    "an answer cut off": rewrite(lambda body: body[:40]),
    "html": rewrite(lambda body: b"<html>It worked</html>"),
}


@pytest.mark.parametrize("fault", slow_but(5, LOST))
def test_a_create_whose_fate_is_unknown_is_never_sent_again(claude: ClaudeEmulator, heard: Heard, fault: str) -> None:
    with Relay(claude.url) as relay:
        relay.on("POST", "/batches", LOST[fault])
        batch = services.advance(services.submit(draft(2)))
        assert batch.state == State.UNCERTAIN
        for _ in range(3):
            make_due(batch)
            tick(advance_if_due)
            services.advance(batch)
        assert relay.calls("POST", "/batches") == 1
    assert len(claude.batches) <= 1
    assert batch.state == State.UNCERTAIN
    assert batch.last_error
    assert heard.names == ["uncertain"]


REFUSALS = {
    "401": (refuse(401, "authentication_error", "API key is invalid."), State.QUEUED, True),
    "402": (refuse(402, "billing_error"), State.QUEUED, True),
    "403": (refuse(403, "permission_error"), State.QUEUED, True),
    "spend limit of the user": (
        refuse(400, "invalid_request_error", "You have reached your specified API usage limits. Until then."),
        State.QUEUED,
        True,
    ),
    "404": (refuse(404, "not_found_error"), State.REJECTED, False),
    "413": (refuse(413, "request_too_large"), State.REJECTED, False),
    "422": (refuse(422, "invalid_request_error"), State.REJECTED, False),
    "429": (refuse(429, "rate_limit_error"), State.QUEUED, False),
    "529": (refuse(529, "overloaded_error"), State.QUEUED, False),
}


@pytest.mark.parametrize("name", slow_but(2, REFUSALS))
def test_refusals_are_about_the_account_or_the_batch_or_the_moment(
    claude: ClaudeEmulator, heard: Heard, name: str
) -> None:
    rule, state, paused = REFUSALS[name]
    with Relay(claude.url) as relay:
        relay.on("POST", "/batches", rule, times=1)
        batch = services.advance(services.submit(draft(1)))
        assert (batch.state, batch.attempts.get().outcome) == (state, "refused")
        assert AccountState.objects.paused().exists() == paused
        assert heard.names == (["failed"] if state == State.REJECTED else [])
        if state == State.QUEUED:
            services.resume("default")
            assert services.advance(batch).state == State.IN_PROGRESS
            assert [attempt.number for attempt in batch.attempts.all()] == [1, 2]
            assert len({attempt.tag for attempt in batch.attempts.all()}) == 2
    assert len(claude.batches) == (1 if state == State.QUEUED else 0)


@pytest.mark.usefixtures("quick")
def test_a_connection_that_was_never_made_is_tried_again_later(
    claude: ClaudeEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
    batch = services.advance(services.submit(draft(1)))
    assert (batch.state, batch.attempts.get().outcome) == (State.QUEUED, "not_sent")
    assert batch.next_action_at > timezone.now()
    monkeypatch.setenv("ANTHROPIC_BASE_URL", claude.url)
    assert services.advance(batch).state == State.IN_PROGRESS


class TestWhatMayHaveBeenBilled:
    def test_it_is_still_known_when_it_was_taken_back(self) -> None:
        batch = services.submit(in_state(State.HELD, may_have_been_billed=True), allow_duplicate=True)
        services.cancel(batch)
        assert (batch.state, batch.may_have_been_billed) == (State.DRAFT, True)
        with pytest.raises(InvalidTransition, match="may have been billed already"):
            services.submit(batch)

    def test_it_is_still_known_when_the_second_call_was_refused(self, claude: ClaudeEmulator) -> None:
        with Relay(claude.url) as relay:
            relay.on("POST", "/batches", refuse(400, "invalid_request_error"), times=1)
            batch = in_state(State.HELD, may_have_been_billed=True)
            services.advance(services.submit(batch, allow_duplicate=True))
            assert (batch.state, batch.may_have_been_billed) == (State.REJECTED, True)
            services.advance(services.submit(batch, allow_duplicate=True))
            assert (batch.state, batch.may_have_been_billed) == (State.IN_PROGRESS, False)

    def test_only_of_such_a_batch_the_timeline_says_so(self) -> None:
        for is_billed in (True, False):
            batch = services.submit(in_state(State.HELD, may_have_been_billed=is_billed), allow_duplicate=True)
            said = batch.events.get(what="submitted").text
            assert said == ("although it may have been billed before" if is_billed else "")


class TestPausing:
    def test_a_refused_key_stops_sending_until_somebody_resumes(
        self, claude: ClaudeEmulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-wrong")
        batch = services.advance(services.submit(draft(1)))
        assert (batch.state, batch.attempts.get().outcome) == (State.QUEUED, "not_sent")
        state = AccountState.objects.paused().get()
        assert "401" in state.pause_reason
        assert state.paused_until is None
        monkeypatch.setenv("ANTHROPIC_API_KEY", claude.api_key)
        calls = len(claude.requests)
        assert services.advance(batch).state == State.QUEUED
        assert len(claude.requests) == calls
        assert services.resume("default") == 1
        assert services.advance(batch).state == State.IN_PROGRESS

    def test_running_batches_go_on(self, claude: ClaudeEmulator) -> None:
        batch = services.advance(services.submit(draft(1)))
        AccountState.objects.update_or_create(alias="default", defaults={"paused_at": timezone.now()})
        claude.finish()
        assert services.advance(batch).state == State.INGESTED

    def test_it_resumes_by_itself_where_the_api_says_when(self, claude: ClaudeEmulator) -> None:
        with Relay(claude.url) as relay:
            relay.on("POST", "/batches", refuse(403, "permission_error", "Later.", retry_after="600"), times=1)
            batch = services.advance(services.submit(draft(1)))
        state = AccountState.objects.paused().get()
        assert state.paused_until is not None
        assert timedelta(seconds=500) < state.paused_until - timezone.now() <= timedelta(seconds=600)
        AccountState.objects.update(paused_until=timezone.now() - timedelta(seconds=1))
        assert services.advance(batch).state == State.IN_PROGRESS


class TestWhatThisMachineDoesWrong:
    def test_no_key_is_said_and_kept_on_the_row(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
        batch = services.submit(draft(1))
        with pytest.raises(ConfigurationError, match=r'No API key for account "default"\. Set ANTHROPIC_API_KEY or'):
            services.advance(batch)
        batch.refresh_from_db()
        assert batch.state == State.QUEUED
        assert "No API key" in batch.last_error
        assert batch.lease_token == ""
        assert not batch.attempts.exists()

    def test_an_unknown_account_cannot_be_submitted(self) -> None:
        with pytest.raises(ConfigurationError, match=r'Unknown account "prod".*has: default'):
            services.submit(draft(1, account="prod"))

    def test_a_disk_that_takes_no_more_loses_nothing(self, claude: ClaudeEmulator) -> None:
        batch = services.submit(MessageBatch.objects.create_draft([item(0, system="x" * 500_000)]))
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        try:
            with pytest.raises(OSError, match="could not be written to a temporary file: File too large"):
                services.advance(batch)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        batch.refresh_from_db()
        assert (batch.state, batch.attempts.get().outcome) == (State.QUEUED, "not_sent")
        assert "temporary file" in batch.last_error
        assert batch.failures == 1
        assert services.advance(batch).state == State.IN_PROGRESS
        assert len(claude.batches) == 1

    @pytest.mark.django_db(transaction=True)
    def test_inside_a_transaction_it_says_so(self, claude: ClaudeEmulator) -> None:
        batch = services.submit(draft(1))
        with transaction.atomic(), pytest.raises(InsideTransaction, match=r"advance.*Call submit"):
            services.advance(batch)
        with transaction.atomic(), pytest.raises(InsideTransaction, match="adopt"):
            services.adopt("msgbatch_x")
        assert claude.requests == []


class TestSendDeadline:
    def test_a_body_that_is_sent_too_slowly_is_broken_off(self, claude: ClaudeEmulator, settings: Any) -> None:
        settings.CLAUDE_BATCHES = {"SEND_DEADLINE": 0.000001}
        batch = services.advance(services.submit(draft(1)))
        assert batch.state == State.UNCERTAIN
        assert "was not sent within" in batch.last_error
        assert claude.batches == []

    def test_either_clock_is_enough(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "body").write_bytes(b"x" * 10)
        with (tmp_path / "body").open("rb") as file:
            reader = DeadlineReader(file, timedelta(seconds=60))
            assert reader.read(4) == b"xxxx"
            real = time.time
            monkeypatch.setattr(time, "time", lambda: real() + 61)
            with pytest.raises(SendDeadlinePassed):
                reader.read(4)


class TestWaits:
    """How long a create call takes at most, and how long its row is held if its process is killed."""

    def test_an_answer_is_waited_for_as_long_as_the_setting_says(self, claude: ClaudeEmulator, settings: Any) -> None:
        settings.CLAUDE_BATCHES = {"CREATE_READ_TIMEOUT": 0.1}
        claude.fault("slow_answer", on="create", delay=0.4)
        batch = services.advance(services.submit(draft(1)))
        assert batch.state == State.UNCERTAIN
        assert "ReadTimeout" in batch.last_error

    def test_before_it_is_sent_a_killed_worker_holds_the_batch_for_five_minutes(self, claude: ClaudeEmulator) -> None:
        assert self.held_by_one_killed_at("baseline_id") <= timedelta(minutes=5)

    def test_while_it_is_sent_as_long_as_the_call_may_take_and_five_minutes(
        self, claude: ClaudeEmulator, settings: Any
    ) -> None:
        settings.CLAUDE_BATCHES = {"SEND_DEADLINE": 60, "CREATE_READ_TIMEOUT": 120}
        held = self.held_by_one_killed_at("api_request_id")
        assert len(claude.batches) == 1
        assert timedelta(minutes=8) < held <= timedelta(minutes=9)  # with one for the last piece of the body

    def test_the_lease_is_renewed_while_the_body_is_written(self, claude: ClaudeEmulator) -> None:
        batch = services.submit(draft(5))
        with (
            CaptureQueriesContext(connection) as queries,
            mock.patch("django_claude_batches.services.heartbeat.time", **{"monotonic.side_effect": count(step=61.0)}),
        ):
            services.advance(batch)
        renewal = f'UPDATE "{MessageBatch._meta.db_table}" SET "lease_until"'
        assert sum(query["sql"].startswith(renewal) for query in queries) >= 5
        assert batch.state == State.IN_PROGRESS

    def held_by_one_killed_at(self, words: str) -> timedelta:
        """Have a process die before its first UPDATE with these words; give how long it holds the batch from now."""
        batch = services.submit(draft(1))

        def die(execute: Any, sql: str, params: Any, many: Any, context: Any) -> Any:
            nonlocal is_dead
            is_dead = is_dead or (sql.startswith("UPDATE") and f'"{words}" =' in sql)
            if is_dead:
                raise Crash
            return execute(sql, params, many, context)

        is_dead = False
        with connection.execute_wrapper(die), pytest.raises(Crash):
            services.advance(batch)
        batch.refresh_from_db()
        assert (batch.state, batch.lease_until is None) == (State.SUBMITTING, False)
        return batch.lease_until - timezone.now()


class TestFencing:
    """Two processes, one batch. A lease that ran out is as good as taken by another."""

    @pytest.mark.database
    def test_nobody_else_touches_a_leased_batch(self, claude: ClaudeEmulator) -> None:
        batch = services.submit(draft(1))
        assert MessageBatch.objects.acquire(batch.pk) is not None
        assert services.advance(batch).state == State.QUEUED
        advance_if_due(batch.pk)
        assert claude.requests == []

    @pytest.mark.database
    def test_a_task_that_comes_twice_does_nothing_the_second_time(self, claude: ClaudeEmulator) -> None:
        batch = services.submit(draft(1))
        advance_if_due(batch.pk)
        advance_if_due(batch.pk)
        assert len(claude.batches) == 1
        assert len(claude.requests) == 2

    def test_without_the_lease_nothing_is_sent(self, claude: ClaudeEmulator) -> None:
        """The baseline call takes so long that the lease is over: sent_at cannot be set, so nothing goes out."""
        batch = services.submit(draft(1))
        with Relay(claude.url) as relay, expiring_lease(relay, batch):
            services.advance(batch)
            assert relay.calls("POST", "/batches") == 0
        assert claude.batches == []
        assert batch.attempts.get().sent_at is None
        make_due(batch)
        assert services.advance(batch).state == State.IN_PROGRESS
        assert len(claude.batches) == 1

    def test_a_wish_to_cancel_before_it_is_sent_takes_it_back(self, claude: ClaudeEmulator) -> None:
        batch = in_state(State.SUBMITTING)
        batch.attempts.update(sent_at=None)
        services.cancel(batch)
        assert services.advance(batch).state == State.DRAFT
        assert claude.requests == []

    def test_an_answer_that_was_written_down_is_found_again(self, claude: ClaudeEmulator) -> None:
        """The process died between writing the id on its attempt and moving the batch."""
        batch = services.advance(services.submit(draft(1)))
        MessageBatch.objects.filter(pk=batch.pk).update(
            state=State.SUBMITTING, anthropic_id=None, processing_status="", next_action_at=timezone.now()
        )
        services.advance(batch)
        assert (batch.state, batch.anthropic_id) == (State.IN_PROGRESS, claude.batches[0].id)
        assert len(claude.batches) == 1

    def test_a_second_batch_for_one_row_is_reported_and_both_ids_are_kept(
        self, claude: ClaudeEmulator, heard: Heard
    ) -> None:
        from django_claude_batches.services.submission import acceptance

        batch = services.advance(services.submit(draft(1)))
        first = batch.anthropic_id
        late = batch.attempts.create(number=2, tag="late", recorded_at=timezone.now(), remote_id="msgbatch_late")
        acceptance.record_acceptance(batch, late)
        assert batch.anthropic_id == first
        assert set(batch.attempts.values_list("remote_id", flat=True)) == {first, "msgbatch_late"}
        assert heard.names == ["submitted", "duplicate"]

    def test_an_answer_with_the_id_of_a_batch_that_another_row_submitted(
        self, claude: ClaudeEmulator, heard: Heard
    ) -> None:
        """A cache between us and Anthropic answers the second call with the first one's answer."""
        with Relay(claude.url) as relay:
            first = services.advance(services.submit(draft(1)))

            def answer_again(exchange: Exchange) -> None:
                status, headers, body = exchange.forward()
                exchange.reply = (status, headers, json.dumps(json.loads(body) | {"id": first.anthropic_id}).encode())

            relay.on("POST", "/batches", answer_again)
            second = services.advance(services.submit(draft(1)))
        assert (second.state, second.anthropic_id) == (State.UNCERTAIN, None)
        assert f"names {first.anthropic_id}, which is batch {first} here" in second.last_error
        assert "duplicate" in heard.names
        made = claude.batches[-1].id
        claude.finish()
        services.identify(second, made)
        assert services.advance(second).anthropic_id == made, "as the text says"


class expiring_lease:  # noqa: N801 (reads as a verb)
    """Let the lease run out while the baseline is asked for: in the test's own thread, by a query's side."""

    def __init__(self, relay: Relay, batch: MessageBatch) -> None:
        self.batch = batch

    def __enter__(self) -> None:
        self._wrapper = connection.execute_wrapper(self._watch)
        self._wrapper.__enter__()

    def __exit__(self, *details: Any) -> None:
        self._wrapper.__exit__(*details)

    def _watch(self, execute: Any, sql: str, params: Any, many: Any, context: Any) -> Any:
        result = execute(sql, params, many, context)
        if "baseline_id" in sql and sql.startswith("UPDATE"):
            self._wrapper.__exit__(None, None, None)
            past = timezone.now() - timedelta(hours=1)
            MessageBatch.objects.filter(pk=self.batch.pk).update(lease_until=past)
            self._wrapper = connection.execute_wrapper(lambda execute, *args: execute(*args))
            self._wrapper.__enter__()
        return result


@pytest.mark.parametrize(("deadline", "wait"), [(1, 1), (600, 600), (7200, 30)])
def test_a_create_call_has_time_for_body_and_answer_and_ends_within_its_lease(deadline: int, wait: int) -> None:
    given = timedelta(seconds=deadline), timedelta(seconds=wait)
    attempt = SubmitAttempt(send_deadline=given[0], read_timeout=given[1])
    assert sum(given, timedelta()) < attempt.max_duration < send.sending_lease(attempt)
