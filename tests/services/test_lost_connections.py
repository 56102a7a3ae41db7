"""A lost connection or a proxy's page is never taken for a refusal by the API, wherever refusals are decided on."""

from __future__ import annotations

import socket
import threading
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.client import BatchesClient
from django_claude_batches.exceptions import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APITimeoutError,
    NotFoundError,
)
from django_claude_batches.models import AccountState, OpenListing, State
from django_claude_batches.services.listings.search import list_for_attempts
from django_claude_batches.services.submission import close_attempt
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import draft, in_state, running
from tests.harness.relay import Exchange, Relay, lose_answer, lose_request

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("quick")]


def proxy_page(exchange: Exchange) -> None:
    exchange.reply = (401, {"content-type": "text/html"}, b"<html>Log in first</html>")


RULES = [lose_answer, lose_request, proxy_page]
UNCERTAIN = [
    APIConnectionError("cut", sent=True),
    APITimeoutError("too slow", sent=True),
    *(APIResponseValidationError("a page", status_code=status, request_id="req_1") for status in (302, 401, 404, 502)),
]
every_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)


@pytest.mark.parametrize("error", UNCERTAIN, ids=str)
def test_create_is_uncertain(error: APIError) -> None:
    batch = in_state(State.SUBMITTING)
    attempt = batch.attempts.get()
    assert not close_attempt.record_error(batch, attempt, error)
    attempt.refresh_from_db()
    assert (batch.state, attempt.outcome) == (State.UNCERTAIN, "uncertain")
    assert (attempt.http_status, attempt.api_request_id) == (
        getattr(error, "status_code", None),
        getattr(error, "request_id", ""),
    )
    assert not AccountState.objects.paused().exists()


@pytest.mark.parametrize("kind", [APIConnectionError, APITimeoutError])
def test_create_that_never_began_is_queued_again(kind: type[APIConnectionError]) -> None:
    batch = in_state(State.SUBMITTING)
    close_attempt.record_error(batch, batch.attempts.get(), kind("refused", sent=False))
    assert (batch.state, batch.attempts.get().outcome) == (State.QUEUED, "refused")
    assert not AccountState.objects.paused().exists()


@every_rule
def test_listing_before_create_pauses_no_account(claude: ClaudeEmulator, rule: Any) -> None:
    with Relay(claude.url) as relay:
        relay.on("GET", "/batches", rule)
        batch = services.advance(services.submit(draft(1)))
        assert relay.calls("POST", "/batches") == 0
    assert (batch.state, batch.attempts.get().outcome) == (State.QUEUED, "not_sent")
    assert not AccountState.objects.paused().exists()


@every_rule
def test_cancel_is_asked_again_without_a_poll(claude: ClaudeEmulator, rule: Any) -> None:
    batch = services.cancel(running())
    with Relay(claude.url) as relay:
        relay.on("POST", "/cancel", rule)
        services.advance(batch)
        assert relay.calls("GET", str(batch.anthropic_id)) == 0
    assert (batch.state, batch.cancel_requested_at is not None) == (State.IN_PROGRESS, True)
    assert services.advance(batch).state == State.CANCELING


@every_rule
def test_delete_is_not_recorded_as_refused(claude: ClaudeEmulator, rule: Any) -> None:
    batch = running()
    claude.finish()
    services.advance(batch)
    with Relay(claude.url) as relay:
        relay.on("DELETE", str(batch.anthropic_id), rule)
        services.advance(services.delete_remote(batch))
    assert batch.remote_deleted_at is None
    assert not batch.events.filter(what="delete_refused").exists()
    assert services.advance(batch).remote_deleted_at is not None


def test_client_raises_a_lost_delete_as_it_is() -> None:
    """The answer of the first try is lost, and the next ones find the port closed."""
    listener = socket.create_server(("127.0.0.1", 0))

    def hang_up() -> None:
        connection, _address = listener.accept()
        listener.close()
        connection.recv(1)
        connection.close()

    thread = threading.Thread(target=hang_up)
    thread.start()
    client = BatchesClient(api_key="key", base_url=f"http://127.0.0.1:{listener.getsockname()[1]}")
    with closing(client), pytest.raises(APIConnectionError) as caught:
        client.delete("msgbatch_01")
    thread.join()
    assert "and then" not in str(caught.value)


@pytest.mark.parametrize(("rule", "is_kept"), [(lose_answer, False), (lose_request, False), (proxy_page, True)])
def test_page_that_may_have_shown_a_lost_batch(claude: ClaudeEmulator, rule: Any, is_kept: bool) -> None:
    """Only an answer without batches has shown none: after a lost one, the listings before it count no more."""
    batch = in_state(State.UNCERTAIN)
    batch.attempts.update(listings_made=1)
    with Relay(claude.url) as relay:
        relay.on("GET", "/batches", rule)
        services.advance(services.submit(draft(1)))
    assert (batch.attempts.get().listings_made == 1) is is_kept
    assert not OpenListing.objects.exists()


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (APIConnectionError("cut", sent=True), ["msgbatch_01newer"]),
        (APITimeoutError("too slow", sent=True), ["msgbatch_01newer"]),
        (APIResponseValidationError("a page", status_code=502), ["msgbatch_01newer", None]),
        (NotFoundError("gone", status_code=404), ["msgbatch_01newer", None]),
    ],
    ids=str,
)
def test_search_begins_anew_only_after_an_answer(error: APIError, asked: list[str | None]) -> None:
    now = timezone.now()
    attempt = in_state(State.UNCERTAIN).attempts.get()
    attempt.anchors, attempt.window_until = [["msgbatch_01older", now.isoformat()]], now
    AccountState.objects.create(
        alias="default", search_after_id="msgbatch_01newer", search_after_at=now + timedelta(hours=2)
    )
    seen: list[str | None] = []

    def pages(after_id: str | None) -> Any:
        seen.append(after_id)
        raise error

    with pytest.raises(type(error)):
        list_for_attempts(pages, "default", [attempt], frozenset())
    assert seen == asked


@every_rule
def test_identification_is_verified_later(claude: ClaudeEmulator, rule: Any) -> None:
    with Relay(claude.url) as relay:
        relay.on("POST", "/batches", lose_answer, times=1)
        batch = services.abandon(services.advance(services.submit(draft(1))))
    remote_id = claude.batches[0].id
    claude.finish()
    services.identify(batch, remote_id)
    with Relay(claude.url) as relay:
        relay.on("GET", remote_id, rule)
        services.advance(batch)
    assert (batch.state, batch.identified_id) == (State.ABANDONED, remote_id)
    assert services.advance(batch).anthropic_id == remote_id
