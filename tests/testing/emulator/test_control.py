"""Who may steer an emulator over HTTP: programs of this machine, and no page that its browser has open."""

from __future__ import annotations

import pytest

from django_claude_batches.testing import ClaudeEmulator
from tests.testing.caller import BATCHES, call, create

LEDGER = "/_emulator/ledger"
FOREIGN = [
    {"host": "evil.test"},
    {"host": "evil.test:8788"},
    {"host": "localhost.evil.test"},
    {"host": "127.0.0.1.evil.test"},
    {"host": "192.0.2.1"},
    {"host": "[broken"},
    {"host": ""},
    {"origin": "https://evil.test"},
    {"origin": "http://localhost.evil.test"},
    {"origin": "null"},
    {"host": "claude.test", "origin": "https://evil.test"},
]
OWN = [
    {},
    {"host": "localhost"},
    {"host": "LOCALHOST:1"},
    {"host": "app.localhost:8000"},
    {"host": "127.0.0.2"},
    {"host": "[::1]:8788"},
    {"origin": "http://localhost:8000"},
    {"host": "claude.test:8788", "origin": "http://claude.test"},
    {"host": "myhost.local:1"},
    {"host": "MyHost.local"},
    {"host": "emulator:8788", "origin": "http://EMULATOR"},
    {"host": "localhost."},
    {"host": "[2001:db8:0::1]:8788"},
]


@pytest.fixture
def claude():
    with ClaudeEmulator(allow_hosts=["claude.test", "MyHost.local", "emulator:8788", "2001:DB8::1"]) as claude:
        yield claude


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_foreign_hosts_and_origins_are_refused(claude, headers):
    create(claude)
    read, steered = (
        call(claude, "GET", LEDGER, **headers),
        call(claude, "POST", "/_emulator/finish", body={}, **headers),
    )
    assert (read.status, steered.status) == (403, 403)
    assert "allow it with --allow-host" in read.json["error"]
    assert claude.batches[0].processing_status == "in_progress"


@pytest.mark.parametrize("headers", OWN, ids=str)
def test_loopback_and_what_is_allowed_may(claude, headers):
    create(claude)
    assert call(claude, "POST", "/_emulator/finish", body={}, **headers).status == 200
    assert call(claude, "GET", LEDGER, **headers).json["batches"][0]["processing_status"] == "ended"


@pytest.mark.parametrize("name", ["", ".", "[broken", "http://"])
def test_no_host_can_be_allowed_that_is_none(name):
    with pytest.raises(ValueError, match="names no host|Invalid IPv6"):
        ClaudeEmulator(allow_hosts=[name])


def test_the_api_itself_is_asked_by_any_name(claude):
    assert call(claude, "GET", BATCHES, host="claude.somewhere:8788").status == 200


def test_what_replies_raise_is_told_to_who_steers():
    with ClaudeEmulator(replies=lambda params, custom_id: 1 / 0) as claude:
        create(claude)
        answer = call(claude, "POST", "/_emulator/finish", body={})
    assert (answer.status, answer.json["error"]) == (400, "ZeroDivisionError: division by zero")


def test_what_is_raised_that_is_no_exception_is_told_too():
    with ClaudeEmulator(replies=lambda params, custom_id: pytest.fail("unexpected")) as claude:
        create(claude)
        answer = call(claude, "POST", "/_emulator/finish", body={})
    assert (answer.status, answer.json["error"]) == (400, "Failed: unexpected")
