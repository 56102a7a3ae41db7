"""Wishes, receivers and downloads that meet: what two processes do to one row, and what must come to rest."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.exceptions import InvalidTransition
from django_claude_batches.models import BatchResult, MessageBatch, State, SubmitAttempt
from django_claude_batches.services import account_pauses
from django_claude_batches.services.engine import advance_if_due, tick
from django_claude_batches.services.ingestion import download
from django_claude_batches.signals import results_ingested
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import draft, in_state, item, make_due, running
from tests.harness.relay import Relay, refuse, rewrite

pytestmark = pytest.mark.django_db


@contextmanager
def receiving(receiver: Any) -> Iterator[None]:
    results_ingested.connect(receiver)
    try:
        yield
    finally:
        results_ingested.disconnect(receiver)


def due(batch: MessageBatch) -> bool:
    """Whether a tick would hand it out, now or some day."""
    make_due(batch)
    return MessageBatch.objects.due().to_advance().filter(pk=batch.pk).exists()


def test_a_receiver_slower_than_the_lease_is_called_once(claude: ClaudeEmulator) -> None:
    """It works for ten minutes: meanwhile a tick comes by, and afterwards the batch is announced."""
    batch = running()
    claude.finish()
    calls: list[int] = []

    def slow(batch: MessageBatch, **kwargs: Any) -> None:
        calls.append(batch.pk)
        MessageBatch.objects.filter(pk=batch.pk).update(
            lease_until=MessageBatch.objects.get(pk=batch.pk).lease_until - timedelta(minutes=10)
        )
        if len(calls) < 3:
            tick(advance_if_due)

    with receiving(slow):
        services.advance(batch)
        make_due(batch)
        services.advance(batch)
    assert calls == [batch.pk]
    assert batch.announced_at is not None


def test_a_wish_during_the_receivers_is_not_forgotten_by_a_crash(claude: ClaudeEmulator) -> None:
    """Somebody asks for deletion while the receivers work, and the process dies before it looks again."""
    batch = running()
    claude.finish()

    def wishing(batch: MessageBatch, **kwargs: Any) -> None:
        services.delete_remote(MessageBatch.objects.get(pk=batch.pk))

    def die(execute: Any, sql: str, params: Any, many: Any, context: Any) -> Any:
        if sql.startswith("UPDATE") and '"announced_at" =' in sql.replace("`", '"'):
            execute(sql, params, many, context)
            raise KeyboardInterrupt
        return execute(sql, params, many, context)

    with receiving(wishing), pytest.raises(KeyboardInterrupt), connection.execute_wrapper(die):
        services.advance(batch)
    make_due(batch)
    tick(advance_if_due)
    assert claude.batches[0].deleted


def test_a_cancel_while_a_listing_is_read_is_not_put_off(claude: ClaudeEmulator) -> None:
    batch = running()
    MessageBatch.objects.filter(pk=batch.pk).update(created_at=timezone.now() - timedelta(hours=3))
    make_due(batch)

    def read(body: bytes) -> bytes:
        listings.append(body)
        data = json.loads(body)
        for shown in data["data"]:
            shown["created_at"] = (timezone.now() - timedelta(hours=3)).isoformat()
        return json.dumps(data).encode()

    listings: list[bytes] = []

    def wish(execute: Any, sql: str, params: Any, many: Any, context: Any) -> Any:
        # The listing was read, and the wish is there before it is written down.
        if listings and sql.startswith("UPDATE") and '"processing_status" =' in sql.replace("`", '"'):
            listings.clear()
            services.cancel(MessageBatch.objects.get(pk=batch.pk))
        return execute(sql, params, many, context)

    with Relay(claude.url) as relay, connection.execute_wrapper(wish):
        relay.on("GET", "/batches", rewrite(read))
        tick(lambda pk: None)
    batch.refresh_from_db()
    assert batch.cancel_requested_at is not None
    handed: list[int] = []
    tick(handed.append)
    assert handed == [batch.pk]


class TestRest:
    """What is not live is not due: a tick would hand it out every 30 seconds, for ever."""

    def test_taken_back_while_a_worker_puts_it_off(self, claude: ClaudeEmulator) -> None:
        batch = services.submit(draft(1))
        account_pauses.account_state("default")
        account_pauses.AccountState.objects.update(paused_at=timezone.now())
        seen: list[str] = []

        def take_back(execute: Any, sql: str, params: Any, many: Any, context: Any) -> Any:
            if "paused_until" in sql.replace("`", '"') and sql.startswith("SELECT") and not seen:
                seen.append(sql)
                services.cancel(MessageBatch.objects.get(pk=batch.pk))
            return execute(sql, params, many, context)

        with connection.execute_wrapper(take_back):
            services.advance(batch)
        assert (batch.state, batch.next_action_at) == (State.DRAFT, None)
        assert not due(batch)

    def test_given_up_while_a_worker_looks(self) -> None:
        batch = in_state(State.UNCERTAIN)
        token = MessageBatch.objects.acquire(batch.pk)
        assert token
        services.abandon(MessageBatch.objects.get(pk=batch.pk))
        batch.reschedule(timedelta(hours=1), token=token)
        assert (batch.state, batch.next_action_at) == (State.ABANDONED, None)

    def test_what_came_to_be_due_all_the_same_is_let_rest(self, claude: ClaudeEmulator) -> None:
        for state in (State.DRAFT, State.HELD, State.REJECTED, State.ABANDONED, State.LOST, State.INGESTED):
            batch = in_state(state, next_action_at=timezone.now() - timedelta(hours=1))
            tick(advance_if_due)
            batch.refresh_from_db()
            assert (batch.state, batch.next_action_at) == (state, None)

    def test_a_duplicate_is_reported_once(self, claude: ClaudeEmulator) -> None:
        batch = in_state(State.UNCERTAIN)
        batch.attempts.update(remote_id="msgbatch_first", outcome="accepted")
        SubmitAttempt.objects.create(
            batch=batch, number=2, tag="x", recorded_at=timezone.now(), sent_at=timezone.now(), outcome="uncertain"
        )
        make_due(batch)
        assert tick(advance_if_due) == 1
        assert tick(advance_if_due) == 0


def test_one_accounts_trouble_does_not_stop_the_others(claude: ClaudeEmulator, settings: Any) -> None:
    def vault() -> str:
        raise RuntimeError("the vault is sealed")

    batch = running(1)
    MessageBatch.objects.filter(pk=batch.pk).update(account="a")
    make_due(batch)
    settings.CLAUDE_BATCHES = {"ACCOUNTS": {"a": {"API_KEY": vault}}}
    queued = services.submit(draft(1))
    tick(advance_if_due)
    queued.refresh_from_db()
    batch.refresh_from_db()
    assert queued.state == State.IN_PROGRESS
    assert "could not be asked for: RuntimeError" in batch.last_error


class TestDeletingAtAnthropic:
    def test_a_404_after_a_delete_that_was_refused_proves_nothing(
        self, claude: ClaudeEmulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The key of another Workspace sees 404 as often as it asks; the batch is still there."""
        batch = running()
        claude.finish()
        services.advance(batch)
        claude.add_key("sk-ant-other", workspace_id="wrkspc_other")
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-other")
        services.delete_remote(batch)
        for _ in range(3):
            services.advance(batch)
        assert batch.remote_deleted_at is None
        assert not claude.batches[0].deleted

    def test_the_baseline_of_what_was_given_up_is_spared_no_longer_than_it_is_watched(
        self, claude: ClaudeEmulator
    ) -> None:
        batch = running()
        claude.finish()
        services.advance(batch)
        abandoned = in_state(State.ABANDONED)
        abandoned.attempts.update(baseline_id=batch.anthropic_id, watch_until=timezone.now() + timedelta(hours=1))
        services.advance(services.delete_remote(batch))
        assert not claude.batches[0].deleted
        abandoned.attempts.update(watch_until=timezone.now() - timedelta(hours=1))
        services.advance(batch)
        assert claude.batches[0].deleted


def test_a_retry_with_other_max_tokens_counts_its_bytes(claude: ClaudeEmulator) -> None:
    batch = running()
    claude.finish()
    services.advance(batch)
    batch.results.all().delete()
    child = services.retry(batch, outcomes=["missing"], max_tokens=123_456)
    services.advance(services.submit(child))
    assert child.body_bytes == child.attempts.get().body_bytes
    assert [r.params_bytes for r in child.requests.all()] == [len(r.params_text.encode()) for r in child.requests.all()]


def test_a_stale_instance_cannot_be_retried(claude: ClaudeEmulator) -> None:
    """It was abandoned, and was found after all: a draft of "what is missing" would be all of it, and paid twice."""
    batch = in_state(State.ABANDONED)
    values = {"state": State.IN_PROGRESS, "anthropic_id": "msgbatch_x", "next_action_at": timezone.now()}
    MessageBatch.objects.filter(pk=batch.pk).update(**values)
    with pytest.raises(InvalidTransition, match="Running at Anthropic"):
        services.retry(batch)


def test_slow_lines_are_stored_before_the_lease_is_over(
    claude: ClaudeEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line each 20 seconds never fills a chunk of 2,000 within the lease."""
    batch = running(20)
    claude.finish()
    clock = itertools.count(step=20.0)
    monkeypatch.setattr(download, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with CaptureQueriesContext(connection) as queries:
        services.advance(batch)
    assert sum("INSERT INTO" in query["sql"] and "batchresult" in query["sql"] for query in queries) >= 5
    assert (batch.state, batch.results.count()) == (State.INGESTED, 20)


def test_each_row_that_the_database_refuses_is_a_problem_of_its_own(claude: ClaudeEmulator) -> None:
    unknown = MessageBatch.objects.create_draft(item(number, model="unknown") for number in range(3))
    batch = services.advance(services.submit(unknown))
    claude.finish()
    elsewhere = draft(1)
    for request in batch.requests.all()[:2]:
        elsewhere.results.create(request=request, custom_id=request.custom_id, result_type="canceled")
    services.advance(batch)
    assert batch.problems.count() == 2


def test_what_was_lost_counts_what_is_missing_of_its_requests(claude: ClaudeEmulator) -> None:
    """Results of nobody's (an odd adopted batch) never make the number negative."""
    batch = running(1)
    claude.finish()
    with Relay(claude.url) as relay:
        relay.on("GET", "/results", refuse(500))
        services.advance(batch)
    for number in range(3):
        columns = {"result_type": "errored", "error_type": "odd_error"} if number else {"result_type": "canceled"}
        BatchResult.objects.create(batch=batch, custom_id=f"odd-{number}", **columns)
    claude.archive(str(batch.anthropic_id))
    services.advance(batch)
    assert (batch.state, batch.missing_count) == (State.LOST, 1)
    assert batch.error_groups == [{"error_type": "odd_error", "count": 2}]
