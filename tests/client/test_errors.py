from __future__ import annotations

import json
from typing import Any

import pytest

from django_claude_batches.client.error_table import RULES
from django_claude_batches.client.errors import error_from_response
from django_claude_batches.exceptions import (
    About,
    APIResponseValidationError,
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    InternalServerError,
    NotFoundError,
    OverloadedError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
    ResultsUnavailable,
    SpendLimitReached,
)


def judged(
    status: int, body: object, *, headers: dict[str, str] | None = None, about_results: bool = False
) -> APIStatusError | APIResponseValidationError:
    text = body if isinstance(body, str) else json.dumps(body)
    return error_from_response(status, "Some Reason", headers or {}, text, about_results=about_results)


def envelope(type_: object = "invalid_request_error", message: object = "words", **error: Any) -> dict[str, Any]:
    return {"type": "error", "error": {"type": type_, "message": message, **error}}


@pytest.mark.parametrize(
    ("status", "type_", "kind"),
    [
        (400, "invalid_request_error", BadRequestError),
        (401, "authentication_error", AuthenticationError),
        (402, "billing_error", PaymentRequiredError),
        (403, "permission_error", PermissionDeniedError),
        (404, "not_found_error", NotFoundError),
        (408, "timeout_error", APIStatusError),
        (409, "conflict_error", APIStatusError),
        (413, "request_too_large", APIStatusError),
        (422, "invalid_request_error", APIStatusError),
        (429, "rate_limit_error", RateLimitError),
        (500, "api_error", InternalServerError),
        (501, "api_error", InternalServerError),
        (503, "api_error", InternalServerError),
        (504, "timeout_error", InternalServerError),
        (529, "overloaded_error", OverloadedError),
        (418, "a_type_of_tomorrow", APIStatusError),
        (599, "a_type_of_tomorrow", InternalServerError),
        (418, "rate_limit_error", RateLimitError),  # the type, where the status says nothing
    ],
)
def test_status_and_type(status: int, type_: str, kind: type[Exception]) -> None:
    error = judged(status, envelope(type_))
    assert type(error) is kind
    assert (error.status_code, error.type, error.message) == (status, type_, "words")


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (429, "enforced_spend_limit_reached", SpendLimitReached),
        (429, "contract_spend_limit_reached", SpendLimitReached),
        (402, "linked_organization_spend_limit_reached", SpendLimitReached),
        (400, "organization_on_hold", PermissionDeniedError),
        (400, "cmek_key_disabled", PermissionDeniedError),
        (400, "workspace_human_review_disabled", PermissionDeniedError),
        (400, "claude_code_key_creator_not_member", PermissionDeniedError),
        (403, "user_profile_not_billable", APIStatusError),
        (500, "organization_on_hold", InternalServerError),
        (409, "organization_on_hold", APIStatusError),
        (400, "request_body_timeout", APIStatusError),
        (402, "linked_organization_billing_unavailable", PaymentRequiredError),
        (429, "ramp_limit_exceeded", RateLimitError),
        (503, "cmek_key_unreachable", InternalServerError),
        (404, "a_code_of_tomorrow", NotFoundError),
    ],
)
def test_code_decides_before_status(status: int, code: str, kind: type[Exception]) -> None:
    details = {"error_code": code, "appeal_url": "https://example.org"}
    error = judged(status, envelope("x", details=details))
    assert type(error) is kind
    assert (error.error_code, error.details) == (code, details)


@pytest.mark.parametrize("whose", ["", "workspace "])
def test_limit_set_by_the_user_is_known_by_the_beginning_of_its_message(whose: str) -> None:
    message = f"You have reached your specified {whose}API usage limits. You will regain access on 2026-12-01."
    assert type(judged(400, envelope(message=message))) is SpendLimitReached
    assert type(judged(400, envelope(message="Why? " + message))) is BadRequestError
    assert type(judged(404, envelope(message=message))) is NotFoundError


ABOUT = [
    *((400, "x", code, "words", About.ACCOUNT) for code in ("organization_on_hold", "workspace_human_review_disabled")),
    *((400, "x", code, "words", About.ACCOUNT) for code in ("cmek_key_disabled", "claude_code_key_creator_not_member")),
    (400, "x", "cmek_key_network_blocked", "words", About.ACCOUNT),
    (429, "x", "enforced_spend_limit_reached", "words", About.ACCOUNT),
    (429, "x", "contract_spend_limit_reached", "words", About.ACCOUNT),
    (402, "x", "linked_organization_spend_limit_reached", "words", About.ACCOUNT),
    (402, "x", "linked_organization_billing_unavailable", "words", About.ACCOUNT),
    *((400, "x", code, "words", About.BATCH) for code in ("user_profile_required", "user_profile_not_found")),
    *((403, "x", code, "words", About.BATCH) for code in ("user_profile_not_billable", "user_profile_of_tomorrow")),
    (403, "permission_error", "sandbox_egress_restricted", "words", About.ACCOUNT),
    (400, "x", "request_body_timeout", "words", About.NOTHING_DONE),
    (429, "x", "ramp_limit_exceeded", "words", About.NOTHING_DONE),
    (400, "invalid_request_error", None, "Your credit balance is too low to access the Anthropic API.", About.ACCOUNT),
    (400, "invalid_request_error", None, "You have reached your specified API usage limits.", About.ACCOUNT),
    (400, "invalid_request_error", None, "requests.0: no", About.ITS_WORDS),
    (400, "invalid_request_error", "request_body_encoding_invalid", "words", About.ITS_WORDS),
    *((status, "x", None, "words", About.ACCOUNT) for status in (401, 402, 403)),
    *((status, "x", None, "words", About.BATCH) for status in (404, 413, 422)),
    *((status, "x", None, "words", About.NOTHING_DONE) for status in (429, 529)),
    (418, "rate_limit_error", None, "words", About.NOTHING_DONE),
    (418, "billing_error", None, "words", About.ACCOUNT),
    (418, "x", None, "words", About.UNKNOWN),
    *((status, "billing_error", "organization_on_hold", "words", About.UNKNOWN) for status in (408, 409, 500, 503)),
    *((status, "rate_limit_error", "user_profile_required", "words", About.UNKNOWN) for status in (408, 409, 502)),
]


@pytest.mark.parametrize(("status", "type_", "code", "message", "about"), ABOUT)
def test_what_an_error_is_about(status: int, type_: str, code: str | None, message: str, about: About) -> None:
    details = {} if code is None else {"details": {"error_code": code}}
    error = judged(status, envelope(type_, message, **details))
    assert isinstance(error, APIStatusError)
    assert error.about is about


@pytest.mark.parametrize(
    ("status", "about"),
    [
        (413, About.BATCH),
        (429, About.NOTHING_DONE),
        (529, About.NOTHING_DONE),
        *((status, None) for status in (400, 401, 402, 403, 404, 408, 409, 422, 500, 503)),
    ],
)
def test_a_page_of_a_proxys_proves_nothing_but_for_three(status: int, about: About | None) -> None:
    error = judged(status, "<html>no</html>")
    assert isinstance(error, APIStatusError) is (about is not None)
    assert getattr(error, "about", None) is about


def test_each_row_has_a_source_and_can_be_reached() -> None:
    for row in RULES:
        assert row.source.startswith("§")
        status = row.status or 400
        code, type_ = row.code.replace("*", "x"), row.type
        found = next(each for each in RULES if each.matches(status, code, type_, row.beginning))
        assert found is row


def test_results_that_are_not_there() -> None:
    words = "Message Batch msgbatch_01 has no available results."
    assert type(judged(404, envelope("not_found_error", words), about_results=True)) is ResultsUnavailable
    assert type(judged(401, envelope("authentication_error"), about_results=True)) is AuthenticationError


def test_request_id_is_the_bodys_or_the_headers() -> None:
    headers = {"request-id": "req_header"}
    assert judged(400, envelope() | {"request_id": "req_body"}, headers=headers).request_id == "req_body"
    assert judged(400, envelope() | {"request_id": None}, headers=headers).request_id == "req_header"
    assert "req_header" in str(judged(400, envelope(), headers=headers))


def test_retry_after_is_seconds() -> None:
    assert judged(429, envelope(), headers={"retry-after": "90"}).retry_after == 90.0


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, APIResponseValidationError),
        (404, APIResponseValidationError),  # a proxy's page: it says nothing about a batch
        (407, APIResponseValidationError),
        (413, APIStatusError),
        (429, RateLimitError),
        (502, APIResponseValidationError),
    ],
)
@pytest.mark.parametrize("body", ["<html>no</html>", "[]", '{"detail": "no"}', '{"error": "no"}', "[" * 100_000])
def test_what_is_not_in_the_envelope_is_not_the_apis(status: int, kind: type[Exception], body: str) -> None:
    error = judged(status, body)
    assert type(error) is kind
    if isinstance(error, APIStatusError):
        assert (error.type, error.error_code, error.details) == (None, None, {})


def test_foreign_text_is_cut_and_freed_of_markup() -> None:
    error = judged(502, "<html>\n<h1 class='a'>502\x07 Bad\x1b[31m\r\nGateway</h1>" + "x" * 10_000)
    assert error.message.startswith("502 Bad [31m Gateway xxx")
    assert len(error.message) == 500


def test_no_text_at_all_leaves_the_status_line() -> None:
    assert judged(502, "").message == "HTTP 502 Some Reason"


@pytest.mark.parametrize(
    ("location", "shown"),
    [("https://elsewhere.example:8443/path?secret=1", "elsewhere.example"), ("/x", "another"), ("http://[", "another")],
)
def test_redirect_names_the_other_host_only(location: str, shown: str) -> None:
    error = judged(307, "", headers={"location": location})
    assert type(error) is APIResponseValidationError
    assert shown in error.message
    assert "secret" not in error.message


@pytest.mark.parametrize("odd", [None, 5, ["x"], {"a": 1}])
def test_odd_values_in_the_envelope_do_not_break_it(odd: Any) -> None:
    error = judged(400, {"error": {"type": odd, "message": odd, "details": odd}, "request_id": odd})
    assert isinstance(error, BadRequestError)
    assert (error.type, error.request_id, error.error_code) == (None, None, None)
