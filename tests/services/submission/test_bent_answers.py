"""Answers of a create call that are not as anybody expects: what was answered is never taken for unanswered."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_claude_batches import services
from django_claude_batches.models import AccountState, MessageBatch, State
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import draft
from tests.harness.relay import Exchange, Relay, refuse
from tests.harness.selections import slow_but

pytestmark = [pytest.mark.django_db, pytest.mark.database]

HUGE = "x" * 20_000
HEADERS = {
    "a long request id": {"request-id": "req_" + "é" * 300},
    "a request id with NUL": {"request-id": "req\0_1"},
    "a date that overflows": {"date": "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"},
    "a date whose zone overflows": {"date": "Mon, 01 Jan 2026 00:00:00 +99999999999999999999"},
    "a date before all dates": {"date": "Mon, 01 Jan 0001 00:00:00 +1400"},
    "a retry-after that overflows": {"retry-after": "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"},
    "a retry-after of infinity": {"retry-after": "1e999"},
    "a retry-after before all times": {"retry-after": "-1e300"},
    "a retry-after-ms that overflows": {"retry-after-ms": "9" * 400},
    "a long Workspace": {"anthropic-workspace-id": HUGE},
    "a Workspace with NUL": {"anthropic-workspace-id": "wrkspc\0"},
    "advice that is none": {"x-should-retry": "\0\x80"},
    "a charset without a name": {"content-type": "application/json; charset"},
    "a type that is none": {"content-type": "\x80;;;=\0"},
    "an encoding that it has not": {"content-encoding": "gzip"},
    "an encoding that nobody knows": {"content-encoding": "x-zip, br, \x80"},
    "a cookie that is none": {"set-cookie": "a; expires=Mon, 01 Jan 9999999999999999999 00:00:00 GMT; version=x"},
    "a location that is none": {"location": "http://["},
    "connection options that are none": {"connection": "\x80", "keep-alive": "timeout=x"},
}  # fmt: skip

BODIES: dict[str, dict[str, Any]] = {
    "texts with NUL": {"processing_status": "in\0progress", "results_url": "http://\0"},
    "halves of characters": {"processing_status": "in\ud800progress", "results_url": "\udfff"},
    "long texts": {"processing_status": HUGE, "results_url": HUGE, "type": HUGE},
    "texts that are none": {"processing_status": ["ended"], "results_url": {"a": 1}, "created_at": [], "ended_at": 1},
    "times before all times": {"created_at": "0001-01-01T00:00:00+14:00", "expires_at": "0001-01-01T00:00:00+00:00"},
    "times after all times": {"ended_at": "9999-12-31T23:59:59-14:00", "archived_at": "9999-12-31T23:59:59.999999Z"},
    "times that MariaDB has not": {"created_at": "0999-12-31T23:59:59Z"},
    "times that are none": {"created_at": "2026-13-45T99:99:99Z", "expires_at": "2026-01-01T00:00:00+99:99"},
    "counts that are none": {"request_counts": {"processing": -1, "succeeded": 1e300, "errored": "x"}},
    "huge counts": {"request_counts": {"processing": 10**30}},
    "counts that are a list": {"request_counts": [1, 2]},
    "nothing but an id": dict.fromkeys(("type", "processing_status", "request_counts", "created_at", "expires_at")),
}  # fmt: skip


def bent(headers: dict[str, str] | None = None, **fields: Any) -> Callable[[Exchange], None]:
    """It happens, and is answered with these headers and fields."""

    def rule(exchange: Exchange) -> None:
        status, sent, body = exchange.forward()
        sent = {name.lower(): value for name, value in sent.items()}
        exchange.reply = (status, sent | (headers or {}), json.dumps(json.loads(body) | fields).encode())

    return rule


def sent_through(claude: ClaudeEmulator, rule: Callable[[Exchange], None]) -> MessageBatch:
    with Relay(claude.url) as relay:
        relay.on("POST", "/batches", rule)
        batch = services.advance(services.submit(draft(1)))
        assert relay.calls("POST", "/batches") == 1
    return batch


@pytest.mark.parametrize("headers", slow_but(2, HEADERS.values()), ids=HEADERS)
def test_no_header_takes_away_an_id(claude: ClaudeEmulator, headers: dict[str, str]) -> None:
    batch = sent_through(claude, bent(headers))
    assert (batch.state, batch.anthropic_id) == (State.IN_PROGRESS, claude.batches[0].id), batch.last_error
    attempt = batch.attempts.get()
    assert (attempt.outcome, attempt.remote_id) == ("accepted", batch.anthropic_id)
    assert len(attempt.api_request_id) <= 100


@pytest.mark.parametrize("length", [127, 128])
def test_the_longest_id_has_room(claude: ClaudeEmulator, length: int) -> None:
    longest = "msgbatch_".ljust(length, "x")
    batch = sent_through(claude, bent(id=longest))
    assert (batch.state, batch.anthropic_id) == (State.IN_PROGRESS, longest), batch.last_error


@pytest.mark.parametrize("fields", slow_but(2, BODIES.values()), ids=BODIES)
def test_no_field_takes_away_an_id(claude: ClaudeEmulator, fields: dict[str, Any]) -> None:
    batch = sent_through(claude, bent(**fields))
    assert (batch.state, batch.anthropic_id) == (State.IN_PROGRESS, claude.batches[0].id), batch.last_error


REFUSALS = {400: State.REJECTED, 401: State.QUEUED, 403: State.QUEUED, 429: State.QUEUED, 529: State.QUEUED}


@pytest.mark.parametrize("status", slow_but(2, REFUSALS))
@pytest.mark.parametrize("headers", slow_but(2, HEADERS.values()), ids=HEADERS)
def test_no_header_makes_a_refusal_uncertain(claude: ClaudeEmulator, status: int, headers: dict[str, str]) -> None:
    batch = sent_through(claude, refuse(status, "x_error", "No.", **headers))
    assert (batch.state, batch.attempts.get().outcome) == (REFUSALS[status], "refused")
    assert "No." in batch.last_error
    assert AccountState.objects.paused().exists() == (status in {401, 403})


MESSAGES = {
    "NUL": "a\0b",
    "half a character": "a\ud800b",
    "a long one": "words " * 100_000,
    "a list": ["a"],
    "none": None,
}


@pytest.mark.parametrize("status", slow_but(2, REFUSALS))
@pytest.mark.parametrize("message", slow_but(2, MESSAGES.values()), ids=MESSAGES)
def test_no_message_makes_a_refusal_uncertain(claude: ClaudeEmulator, status: int, message: Any) -> None:
    batch = sent_through(claude, refuse(status, "x\0_\udfff", message))
    assert (batch.state, batch.attempts.get().outcome) == (REFUSALS[status], "refused")
    assert AccountState.objects.paused().exists() == (status in {401, 403})
    assert batch.last_error
    assert not set("\0\ud800\udfff") & set(batch.last_error)


def test_an_id_is_written_by_a_statement_with_nothing_else_of_the_answer(claude: ClaudeEmulator) -> None:
    with CaptureQueriesContext(connection) as queries:
        batch = sent_through(claude, bent({"request-id": "req_bent"}, results_url="http://bent/"))
    first = next(query["sql"] for query in queries if str(batch.anthropic_id) in query["sql"])
    assert first.startswith("UPDATE")
    assert "remote_id" in first
    assert "bent" not in first
    assert batch.attempts.get().api_request_id == "req_bent"


def test_a_listing_that_is_bent_stops_no_create(claude: ClaudeEmulator) -> None:
    """The baseline's answer is of the wire, too."""

    def rule(exchange: Exchange) -> None:
        status, headers, body = exchange.forward()
        page = json.loads(body)
        page["data"][0]["created_at"] = "0001-01-01T00:00:00+14:00"
        exchange.reply = (status, headers | {"anthropic-workspace-id": HUGE}, json.dumps(page).encode())

    claude.add_stranger(1)
    with Relay(claude.url) as relay:
        relay.on("GET", "/batches", rule)
        batch = services.advance(services.submit(draft(1)))
    assert batch.state == State.IN_PROGRESS
    attempt = batch.attempts.get()
    assert (attempt.workspace_id, attempt.baseline_created_at) == ("", None)
