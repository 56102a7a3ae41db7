"""One account's oddity stops no other account: what `tick` does when something is wrong with one of two."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.conf import ConfigurationError
from django_claude_batches.models import MessageBatch, State
from django_claude_batches.services import engine
from django_claude_batches.services.connection import client_of
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import draft, make_due, running
from tests.harness.relay import Exchange, Relay, refuse
from tests.harness.selections import slow_but
from tests.services.submission.test_bent_answers import BODIES, HEADERS, MESSAGES

pytestmark = pytest.mark.django_db

Both = tuple[MessageBatch, MessageBatch]


@pytest.fixture
def relay(claude: ClaudeEmulator, settings: Any) -> Iterator[Relay]:
    """What stands before the server of the account `a odd`, which comes first in each tick."""
    with Relay(claude.url) as relay:
        configure(settings, claude, relay)
        yield relay


def configure(settings: Any, claude: ClaudeEmulator, relay: Relay, **odd: Any) -> None:
    url = f"http://127.0.0.1:{relay._server.server_port}"
    accounts = {
        "a odd": {"API_KEY": claude.api_key, "BASE_URL": url, **odd},
        "default": {"API_KEY": claude.api_key, "BASE_URL": claude.url},
    }
    settings.CLAUDE_BATCHES = {"KICK": False, "ACCOUNTS": accounts}


@pytest.fixture
def running_ones(relay: Relay) -> Both:
    """A batch of each account that is due to be polled."""
    odd, healthy = running(1, account="a odd"), running(1)
    make_due(odd)
    make_due(healthy)
    return odd, healthy


def tick() -> None:
    """As the command does it: what one batch raises is of that batch."""

    def advance(pk: int) -> None:
        try:
            engine.advance_if_due(pk)
        except ConfigurationError:
            return

    engine.tick(advance)


def healthy_goes_on(claude: ClaudeEmulator, healthy: MessageBatch) -> None:
    """What was sent is fetched, and what is queued is sent, by one tick."""
    queued = services.submit(draft(2))
    claude.finish()
    tick()
    healthy.refresh_from_db()
    queued.refresh_from_db()
    assert (healthy.state, healthy.results.count()) == (State.INGESTED, 1)
    assert queued.state == State.IN_PROGRESS


WRONG_SETTINGS: dict[str, dict[str, Any]] = {
    "PROXIES is a text": {"PROXIES": "http://proxy:3128"},
    "PROXIES has a number": {"PROXIES": {"http": 3128}},
    "TIMEOUTS are no numbers": {"TIMEOUTS": (float("nan"), "x")},
    "TIMEOUTS that no socket takes": {"TIMEOUTS": (1e30, 1e30)},
    "VERIFY is a list": {"VERIFY": ["x"]},
    "WORKSPACE_ID is a number": {"WORKSPACE_ID": 7},
    "BASE_URL is none": {"BASE_URL": "http://["},
    "AUTH is a list": {"AUTH": ["bearer"]},
    "API_KEY is bytes": {"API_KEY": b"x"},
    "API_KEY cannot be a header": {"API_KEY": "\u20ac"},
    "a key that nobody knows": {"PROXY": "x"},
}


@pytest.mark.parametrize("odd", slow_but(2, WRONG_SETTINGS.values()), ids=WRONG_SETTINGS)
def test_a_wrong_setting(
    claude: ClaudeEmulator, settings: Any, relay: Relay, running_ones: Both, odd: dict[str, Any]
) -> None:
    batch, healthy = running_ones
    waiting = services.submit(draft(1, account="a odd"))
    configure(settings, claude, relay, **odd)
    healthy_goes_on(claude, healthy)
    for each in (batch, waiting):
        each.refresh_from_db()
        assert "a odd" in each.last_error
        assert each.next_action_at > timezone.now()
    with pytest.raises(ConfigurationError, match="a odd"):
        client_of("a odd")


def test_an_account_that_is_no_dictionary(claude: ClaudeEmulator, settings: Any, running_ones: Both) -> None:
    accounts = settings.CLAUDE_BATCHES["ACCOUNTS"]
    settings.CLAUDE_BATCHES = {"KICK": False, "ACCOUNTS": {**accounts, "a odd": "sk-ant-x", 7: {}}}
    healthy_goes_on(claude, running_ones[1])


def shown(**fields: Any) -> Callable[[Exchange], None]:
    """Each batch of the listing, and each by itself, has these fields."""

    def rule(exchange: Exchange) -> None:
        status, headers, body = exchange.forward()
        answer = json.loads(body)
        changed = [data | fields for data in answer["data"]] if "data" in answer else answer | fields
        exchange.reply = (
            status,
            headers,
            json.dumps(answer | {"data": changed} if "data" in answer else changed).encode(),
        )

    return rule


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("fields", slow_but(2, BODIES.values()), ids=BODIES)
def test_a_listing_whose_batches_are_bent(
    claude: ClaudeEmulator, relay: Relay, running_ones: Both, fields: dict[str, Any]
) -> None:
    odd, healthy = running_ones
    relay.on("GET", "/batches", shown(**fields))
    relay.on("GET", str(odd.anthropic_id), shown(**fields))
    healthy_goes_on(claude, healthy)
    odd.refresh_from_db()
    assert odd.anthropic_id
    assert odd.next_action_at or odd.state == State.INGESTED


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("message", slow_but(2, MESSAGES.values()), ids=MESSAGES)
def test_a_listing_that_is_refused_in_odd_words(
    claude: ClaudeEmulator, relay: Relay, running_ones: Both, message: Any
) -> None:
    odd, healthy = running_ones
    relay.on("GET", "/batches", refuse(400, "x\0", message))
    healthy_goes_on(claude, healthy)
    odd.refresh_from_db()
    assert odd.state == State.IN_PROGRESS
    assert odd.last_error
    assert odd.next_action_at > timezone.now()


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("status", slow_but(1, [200, 429, 503]))
@pytest.mark.parametrize("headers", slow_but(2, HEADERS.values()), ids=HEADERS)
def test_a_listing_with_odd_headers(
    claude: ClaudeEmulator, relay: Relay, running_ones: Both, status: int, headers: dict[str, str]
) -> None:
    odd, healthy = running_ones

    def answered(exchange: Exchange) -> None:
        _status, sent, body = exchange.forward()
        exchange.reply = (200, {name.lower(): value for name, value in sent.items()} | headers, body)

    relay.on("GET", "/batches", answered if status == 200 else refuse(status, "x_error", **headers))
    healthy_goes_on(claude, healthy)
    odd.refresh_from_db()
    assert odd.state == (State.ENDED if status == 200 else State.IN_PROGRESS) or odd.state == State.INGESTED
    assert odd.state != State.IN_PROGRESS or odd.next_action_at > timezone.now()


PAGES: dict[str, Any] = {
    "no batches": {"data": None},
    "batches that are none": {"data": [1, None, "x"]},
    "a cursor that is none": {"has_more": True, "last_id": "../../"},
    "a cursor that is a list": {"has_more": True, "last_id": [1]},
}


@pytest.mark.parametrize("fields", slow_but(2, PAGES.values()), ids=PAGES)
def test_a_page_that_is_bent(claude: ClaudeEmulator, relay: Relay, running_ones: Both, fields: Any) -> None:
    def rule(exchange: Exchange) -> None:
        status, headers, body = exchange.forward()
        exchange.reply = (status, headers, json.dumps(json.loads(body) | fields).encode())

    relay.on("GET", "/batches", rule)
    healthy_goes_on(claude, running_ones[1])


class Refusing:
    """A database that refuses each statement which holds a value, as it does one that a column cannot hold."""

    def __init__(self, value: str) -> None:
        self.value = value

    def __call__(self, execute: Any, sql: str, params: Any, many: Any, context: Any) -> Any:
        if sql.startswith("UPDATE") and self.value in map(str, params or ()):
            raise ValueError("cannot be stored")
        return execute(sql, params, many, context)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_what_nobody_foresaw_is_logged_with_the_alias_and_put_off(
    claude: ClaudeEmulator, relay: Relay, running_ones: Both, caplog: pytest.LogCaptureFixture
) -> None:
    odd, healthy = running_ones
    other = running(1, account="a odd")
    make_due(other)
    relay.on("GET", "/batches", shown_of(odd, processing_status="a_new_one"))
    delays = []
    with connection.execute_wrapper(Refusing("a_new_one")):
        healthy_goes_on(claude, healthy)
        for _ in range(2):
            odd.refresh_from_db()
            delays.append(odd.next_action_at - timezone.now())
            assert "ValueError: cannot be stored" in odd.last_error
            make_due(odd)
            tick()
    assert delays[0] < delays[1], "the back-off grows"
    assert "Account a odd" in caplog.text
    other.refresh_from_db()
    assert other.state == State.INGESTED, "a batch that cannot be stored stops no other of its account"


def shown_of(batch: MessageBatch, **fields: Any) -> Callable[[Exchange], None]:
    def rule(exchange: Exchange) -> None:
        status, headers, body = exchange.forward()
        page = json.loads(body)
        page["data"] = [data | (fields if data["id"] == batch.anthropic_id else {}) for data in page["data"]]
        exchange.reply = (status, headers, json.dumps(page).encode())

    return rule


@pytest.mark.django_db(transaction=True)
def test_an_account_whose_row_cannot_be_written(claude: ClaudeEmulator, running_ones: Both, caplog: Any) -> None:
    """Before and behind the polling itself, too: here the mark of the tick."""
    odd, healthy = running_ones
    with connection.execute_wrapper(failing_at_the_first_mark()):
        healthy_goes_on(claude, healthy)
    assert "Account a odd could not be looked after." in caplog.text
    odd.refresh_from_db()
    assert odd.next_action_at > timezone.now()


def failing_at_the_first_mark() -> Callable[..., Any]:
    failed: list[str] = []

    def fail(execute: Any, sql: str, params: Any, many: Any, context: Any) -> Any:
        if sql.startswith("UPDATE") and "last_tick_at" in sql and not failed:
            failed.append(sql)
            raise RuntimeError("a defect of ours")
        return execute(sql, params, many, context)

    return fail


def test_accounts_are_polled_also_where_no_message_can_be_sent(claude: ClaudeEmulator, running_ones: Both) -> None:
    """The broker is away: what is due stays due, and what runs is mirrored."""

    def dispatch(pk: int) -> None:
        raise ConnectionError("no broker")

    services.submit(draft(1))
    claude.finish()
    with pytest.raises(ConnectionError):
        engine.tick(dispatch)
    for batch in running_ones:
        batch.refresh_from_db()
        assert batch.state == State.ENDED


def test_work_is_handed_out_before_and_after_polling(claude: ClaudeEmulator, relay: Relay, running_ones: Both) -> None:
    queued = services.submit(draft(1))
    claude.finish()
    handed: list[int] = []
    before: list[list[int]] = []

    def rule(exchange: Exchange) -> None:
        before.append(list(handed))
        exchange.reply = exchange.forward()

    relay.on("GET", "/batches", rule)
    assert engine.tick(handed.append) == 3
    assert before[0] == [queued.pk]
    assert handed == [queued.pk, *[batch.pk for batch in running_ones]]
