"""Faults that answer with an error status."""

from __future__ import annotations

import pytest

from tests.testing.caller import BATCHES, call, create, requests_of

STATUSES = {
    "key_refused": (401, "authentication_error"),
    "billing": (402, "billing_error"),
    "access_refused": (403, "permission_error"),
    "timed_out": (408, "timeout_error"),
    "conflict": (409, "conflict_error"),
    "server_error": (500, "api_error"),
    "unavailable": (503, "api_error"),
    "gateway_timeout": (504, "timeout_error"),
    "overloaded": (529, "overloaded_error"),
    "on_hold": (400, "invalid_request_error"),
    "credit_too_low": (400, "invalid_request_error"),
    "human_review_disabled": (400, "invalid_request_error"),
    "encryption_key_disabled": (400, "invalid_request_error"),
    "key_creator_gone": (400, "invalid_request_error"),
    "user_profile_refused": (403, "permission_error"),
    "refusal": (400, "invalid_request_error"),
    "spend_limit": (400, "invalid_request_error"),
    "spend_cap": (429, "rate_limit_error"),
    "rate_limited": (429, "rate_limit_error"),
}


@pytest.mark.parametrize("name", STATUSES)
def test_a_status_once(claude, name):
    claude.fault(name)
    answer = call(claude, "POST", BATCHES, body=requests_of("a"))
    assert answer.error[:2] == STATUSES[name]
    assert answer.json["request_id"] == (None if name == "key_refused" else answer.headers["request-id"])
    named = {"anthropic-organization-id", "anthropic-workspace-id"} & answer.headers.keys()
    assert len(named) == (0 if name == "key_refused" else 2)
    never_retried = answer.status < 500 and answer.status not in (408, 409, 429)
    assert answer.headers.get("x-should-retry") == ("false" if never_retried else None)
    assert ("retry-after" in answer.headers) == (name == "rate_limited")
    assert claude.batches == []
    assert create(claude)
    assert [request.status for request in claude.requests] == [STATUSES[name][0], 200]


@pytest.mark.parametrize("name", ["server_error", "html", "redirect", "timed_out"])
def test_it_may_have_happened_all_the_same(claude, name):
    claude.fault(name, happens=True)
    answer = call(claude, "POST", BATCHES, body=requests_of("a"))
    assert answer.status != 200
    assert claude.requests[0].batch_id == claude.batches[0].id


def test_what_the_two_about_spending_say(claude):
    claude.fault("spend_limit", at=1)
    claude.fault("spend_cap", at=2)
    first, second = (call(claude, "GET", BATCHES) for _ in range(2))
    assert first.json["error"]["message"].startswith("You have reached your specified API usage limits")
    assert second.json["error"]["details"] == {"error_code": "enforced_spend_limit_reached"}


def test_any_refusal(claude):
    claude.fault("refusal", status=429, type="rate_limit_error", message="Ramp.", code="ramp_limit_exceeded")
    error = call(claude, "GET", BATCHES).json["error"]
    assert error == {"type": "rate_limit_error", "message": "Ramp.", "details": {"error_code": "ramp_limit_exceeded"}}


def test_hints(claude):
    claude.fault("rate_limited", retry_after=None)
    claude.fault("rate_limited", retry_after="Fri, 31 Dec 2027 23:59:59 GMT", at=2)
    claude.fault("server_error", should_retry=False, retry_after=7, at=3)
    headers = [call(claude, "GET", BATCHES).headers for _ in range(3)]
    assert [each.get("retry-after") for each in headers] == [None, "Fri, 31 Dec 2027 23:59:59 GMT", "7"]
    assert [each.get("x-should-retry") for each in headers] == [None, None, "false"]


def test_not_found_for_a_while(claude, batch_id):
    claude.fault("not_found", times=2)
    path = f"{BATCHES}/{batch_id}"
    answers = [call(claude, "GET", path), call(claude, "GET", f"{path}/results"), call(claude, "GET", path)]
    message = f"Message Batch {batch_id} not found."
    assert [answer.status for answer in answers] == [404, 404, 200]
    assert [answer.error for answer in answers[:2]] == [(404, "not_found_error", message)] * 2
    assert len(call(claude, "GET", BATCHES).json["data"]) == 1


@pytest.mark.parametrize("status", [500, 502, 200])
def test_html(claude, status):
    claude.fault("html", status=status)
    answer = call(claude, "GET", BATCHES)
    assert (answer.status, answer.headers["content-type"]) == (status, "text/html")
    assert answer.body.startswith(b"<html>")
    assert "request-id" not in answer.headers


@pytest.mark.parametrize("status", [302, 307])
def test_redirect(claude, status):
    claude.fault("redirect", status=status, to="http://127.0.0.2:9")
    answer = call(claude, "GET", f"{BATCHES}?limit=1&after_id=x")
    assert (answer.status, answer.body) == (status, b"")
    assert answer.headers["location"] == f"http://127.0.0.2:9{BATCHES}?limit=1&after_id=x"


def test_redirects_lead_nowhere_unless_told(claude, batch_id):
    claude.fault("redirect", on="results")
    answer = call(claude, "GET", f"{BATCHES}/{batch_id}/results")
    assert answer.headers["location"] == f"http://elsewhere.invalid{BATCHES}/{batch_id}/results"
