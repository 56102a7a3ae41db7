"""Control over HTTP: programs on this machine may control an emulator, web pages in its browser may not."""

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
ALLOWED = ["claude.test", "MyHost.local", "emulator:8788", "2001:DB8::1"]


@pytest.fixture
def claude():
    with ClaudeEmulator(allow_hosts=ALLOWED) as claude:
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
def test_loopback_and_allowed_hosts_are_accepted(claude, headers):
    create(claude)
    assert call(claude, "POST", "/_emulator/finish", body={}, **headers).status == 200
    assert call(claude, "GET", LEDGER, **headers).json["batches"][0]["processing_status"] == "ended"


@pytest.mark.parametrize("name", ["", ".", "[broken", "http://"])
def test_an_invalid_host_cannot_be_allowed(name):
    with pytest.raises(ValueError, match=r"names no host|Invalid IPv6"):
        ClaudeEmulator(allow_hosts=[name])


def test_the_api_itself_is_asked_by_any_name(claude):
    assert call(claude, "GET", BATCHES, host="claude.somewhere:8788").status == 200


PAGES = [
    *({"host": host} for host in ("evil.test", "EVIL.TEST:8788", "localhost.evil.test", "192.0.2.1.evil.test", "")),
    *({"origin": origin} for origin in ("https://evil.test", "null", "http://container", "http://192.0.2.1")),
    {"host": "evil.test", "origin": "http://evil.test"},
]
PROGRAMS = [
    *OWN,
    *({"host": host} for host in ("container:8788", "192.0.2.1", "[2001:db8::2]:8788", "host.docker.internal:8788")),
    {"host": "emulator.default.svc.cluster.local"},
]


@pytest.fixture
def anyone():
    with ClaudeEmulator(any_key=True, allow_hosts=ALLOWED) as claude:
        yield claude


@pytest.mark.parametrize("headers", PAGES, ids=str)
def test_a_page_is_refused_unless_it_has_the_emulators_key(anyone, headers):
    answer = call(anyone, "GET", BATCHES, x_api_key="any", **headers)
    assert answer.error[:2] == (403, "permission_error")
    assert "allow it with --allow-host" in answer.error[2]
    assert call(anyone, "GET", BATCHES, **headers).status == 200  # the emulator's key, which no page knows


@pytest.mark.parametrize("headers", PROGRAMS, ids=str)
def test_a_program_is_answered_with_any_key(anyone, headers):
    assert call(anyone, "GET", BATCHES, x_api_key="any", **headers).status == 200


def test_an_exception_of_replies_is_returned_to_the_controlling_call():
    with ClaudeEmulator(replies=lambda params, custom_id: 1 / 0) as claude:
        create(claude)
        answer = call(claude, "POST", "/_emulator/finish", body={})
    assert (answer.status, answer.json["error"]) == (400, "ZeroDivisionError: division by zero")


def test_a_base_exception_is_returned_to_the_controlling_call():
    with ClaudeEmulator(replies=lambda params, custom_id: pytest.fail("unexpected")) as claude:
        create(claude)
        answer = call(claude, "POST", "/_emulator/finish", body={})
    assert (answer.status, answer.json["error"]) == (400, "Failed: unexpected")
