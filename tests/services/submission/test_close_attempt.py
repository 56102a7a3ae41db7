"""Sending, seen by a doubter: what a stale instance, a strange header or a broken connection does to a create call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.exceptions import InsideTransaction, WaitTimeout
from django_claude_batches.models import MessageBatch, State
from django_claude_batches.services.engine import advance_if_due
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import draft, make_due, running
from tests.harness.relay import Relay, lose_answer, refuse

pytestmark = pytest.mark.django_db


@contextmanager
def failing(part: str, times: int = 1) -> Iterator[list[str]]:
    """Let the first statements that hold `part` fail as a locked database does."""
    failed: list[str] = []

    def fail(execute: Any, sql: str, params: Any, many: Any, context: Any) -> Any:
        if part in sql.replace("`", '"') and len(failed) < times:
            failed.append(sql)
            raise OperationalError("database is locked")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(fail):
        yield failed


def test_a_stale_instance_that_is_saved_sends_nothing_twice(claude: ClaudeEmulator) -> None:
    """`batch.save()` of an instance that was loaded before it was sent writes nothing of the machine's."""
    stale = services.submit(draft(1))
    batch = running_again(stale)
    stale.label = "Renamed"
    stale.save()
    batch.refresh_from_db()
    assert (batch.state, batch.label) == (State.IN_PROGRESS, "Renamed")
    services.advance(batch)
    assert len(claude.batches) == 1


@pytest.mark.parametrize("lost", [True, False])
def test_a_row_that_was_set_back_is_not_sent_again(claude: ClaudeEmulator, lost: bool) -> None:
    """A backup that was played back, a hand in the database: the attempts still tell what was sent."""
    with Relay(claude.url) as relay:
        if lost:
            relay.on("POST", "/batches", lose_answer, times=1)
        batch = services.advance(services.submit(draft(1)))
        MessageBatch.objects.filter(pk=batch.pk).update(
            state=State.QUEUED, anthropic_id=None, processing_status="", next_action_at=timezone.now()
        )
        services.advance(batch)
        assert relay.calls("POST", "/batches") == 1
    assert batch.state == (State.UNCERTAIN if lost else State.IN_PROGRESS)
    assert len(claude.batches) == 1


def test_the_backoff_grows_from_refusal_to_refusal(claude: ClaudeEmulator) -> None:
    batch = services.submit(draft(1))
    with Relay(claude.url) as relay:
        relay.on("POST", "/batches", refuse(529, "overloaded_error"))
        for _ in range(5):
            services.advance(batch)
    assert batch.failures == 5
    assert batch.next_action_at - timezone.now() > timedelta(minutes=5)
    services.advance(batch)
    assert (batch.state, batch.failures) == (State.IN_PROGRESS, 0)


@pytest.mark.parametrize("options", [{"betas": ["a b"]}, {"user_profile_id": "é"}])
def test_a_header_that_cannot_be_sent_is_refused_and_not_unconfirmed(
    claude: ClaudeEmulator, options: dict[str, Any]
) -> None:
    batch = draft(1)
    MessageBatch.objects.filter(pk=batch.pk).update(**options)  # past the check of create_draft
    batch.refresh_from_db()
    services.advance(services.submit(batch))
    assert batch.state == State.REJECTED
    assert "cannot be sent as anthropic-" in batch.last_error
    assert not [request for request in claude.requests if request.method == "POST"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("status", "state"), [(400, State.REJECTED), (529, State.QUEUED), (403, State.QUEUED)])
def test_a_refusal_survives_a_database_that_is_busy(claude: ClaudeEmulator, status: int, state: State) -> None:
    batch = services.submit(draft(1))
    with Relay(claude.url) as relay, failing('"http_status" ='):
        relay.on("POST", "/batches", refuse(status, "invalid_request_error" if status == 400 else "api_error"))
        services.advance(batch)
    assert (batch.state, batch.attempts.get().outcome) == (state, "refused")


@pytest.mark.django_db(transaction=True)
def test_an_id_survives_a_database_that_is_busy(claude: ClaudeEmulator) -> None:
    batch = services.submit(draft(1))
    with failing('"remote_id" =') as failed:
        services.advance(batch)
    assert failed
    assert (batch.state, batch.anthropic_id) == (State.IN_PROGRESS, claude.batches[0].id)


@pytest.mark.django_db(transaction=True)
def test_an_id_that_nothing_takes_is_at_least_logged(claude: ClaudeEmulator, caplog: pytest.LogCaptureFixture) -> None:
    """A time limit, Ctrl-C, a disk that is full: whatever keeps the id from its row, the log has it."""
    batch = services.submit(draft(1))

    def interrupt(execute: Any, sql: str, params: Any, many: Any, context: Any) -> Any:
        if '"remote_id" =' in sql.replace("`", '"'):
            raise KeyboardInterrupt
        return execute(sql, params, many, context)

    with pytest.raises(KeyboardInterrupt), connection.execute_wrapper(interrupt):
        services.advance(batch)
    assert claude.batches[0].id in caplog.text
    assert f"--for-batch {batch.pk}" in caplog.text
    services.advance(batch)
    assert batch.state == State.UNCERTAIN
    assert len(claude.batches) == 1


@pytest.mark.django_db(transaction=True)
def test_without_autocommit_nothing_is_sent(claude: ClaudeEmulator) -> None:
    """With autocommit off no atomic() commits, so what was written down before the call would not be kept."""
    batch = services.submit(draft(1))
    transaction.set_autocommit(False)
    try:
        with pytest.raises(InsideTransaction, match="autocommit"):
            services.advance(batch)
        with pytest.raises(InsideTransaction, match="autocommit"):
            advance_if_due(batch.pk)
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)
    assert claude.requests == []


def test_wait_keeps_to_the_backoff(claude: ClaudeEmulator) -> None:
    """A refused create is not sent again at each look, and a download not repeated until its tries are used up."""
    with Relay(claude.url) as relay:
        relay.on("POST", "/batches", refuse(529, "overloaded_error"))
        batch = services.submit(draft(1))
        with pytest.raises(WaitTimeout):
            services.wait(batch, timeout=1, poll_interval=0.1)
        assert relay.calls("POST", "/batches") == 1


@pytest.mark.slow
def test_wait_does_not_use_up_the_downloads(claude: ClaudeEmulator) -> None:
    batch = running()
    claude.finish()
    with Relay(claude.url) as relay:
        relay.on("GET", "/results", lambda exchange: setattr(exchange, "reply", (200, {}, b"")))
        with pytest.raises(WaitTimeout):
            services.wait(batch, timeout=1, poll_interval=0.05)
        assert relay.calls("GET", "/results") == 1
    assert (batch.state, batch.tries) == (State.INCOMPLETE, 1)


def running_again(stale: MessageBatch) -> MessageBatch:
    """Another process sends it."""
    batch = MessageBatch.objects.get(pk=stale.pk)
    services.advance(batch)
    assert batch.state == State.IN_PROGRESS
    make_due(batch)
    return batch
