"""Which of our errors an answer of the API is: one table, closed by default.

An error's code decides before its status, its status before its type (docs/reference/wire.md §5). An unknown 4xx is
a plain `APIError`; a 5xx, a redirect and whatever isn't in the API's envelope is a `ServerFault`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from django_claude_batches import storable
from django_claude_batches.client.retries import retry_after
from django_claude_batches.exceptions import (
    AccessRefused,
    APIError,
    KeyRefused,
    RateLimited,
    RemoteNotFound,
    ResultsUnavailable,
    ServerFault,
    SpendLimitReached,
)

BY_CODE: dict[str, type[APIError]] = {
    "contract_spend_limit_reached": SpendLimitReached,
    "enforced_spend_limit_reached": SpendLimitReached,
    "linked_organization_spend_limit_reached": SpendLimitReached,
    "organization_on_hold": AccessRefused,
}
BY_STATUS: dict[int, type[APIError]] = {
    401: KeyRefused,
    402: AccessRefused,
    403: AccessRefused,
    404: RemoteNotFound,
    429: RateLimited,
}
BY_TYPE: dict[str, type[APIError]] = {
    "authentication_error": KeyRefused,
    "billing_error": AccessRefused,
    "permission_error": AccessRefused,
    "not_found_error": RemoteNotFound,
    "rate_limit_error": RateLimited,
}
FROM_THE_EDGE: dict[int, type[APIError]] = {413: APIError, 429: RateLimited}
"""Cloudflare gives these before the API has seen the request, without the envelope (docs/reference/wire.md §11.20)."""

USER_SET_LIMITS = (
    "You have reached your specified API usage limits",
    "You have reached your specified workspace API usage limits",
)
"""A spend limit set by the user is a 400 without a code (docs/reference/wire.md §5.1). No other message is ever
matched: their wording can change."""

MAX_FOREIGN_TEXT = 500
"""Characters kept of an answer that isn't the API's."""

MAX_FOREIGN_READ = 64 * 1024
"""Characters of it that are looked at."""

MAX_MESSAGE, MAX_IDENTIFIER = 5000, 100
"""Characters kept of the API's own words, and of its short ones: types, codes, request ids."""


def refusal(status: int, reason: str, headers: Mapping[str, str], text: str, *, about_results: bool) -> APIError:
    """Make the error that an answer outside 200-299 stands for.

    `about_results`: the results were asked for, where a 404 says that there are none (yet, or any more).
    """
    if 300 <= status < 400:
        return _error(ServerFault, _refused_redirect(headers), status, headers)
    body = _envelope(text)
    if body is None:
        kind = FROM_THE_EDGE.get(status, ServerFault)
        return _error(kind, plain_text(text) or f"HTTP {status} {reason}".rstrip(), status, headers)
    error = body["error"]
    kind = _kind(status, error)
    if kind is RemoteNotFound and about_results:
        kind = ResultsUnavailable
    message = _text(error.get("message"), MAX_MESSAGE) or plain_text(text)
    return _error(kind, message, status, headers, body=body)


def plain_text(text: str) -> str:
    """Return the beginning of a foreign answer as one line, without markup and control characters."""
    words = re.sub(r"<[^>]*>|[\x00-\x1f\x7f-\x9f]", " ", text[:MAX_FOREIGN_READ])
    return storable.text(" ".join(words.split()), MAX_FOREIGN_TEXT)


def identifier(value: object) -> str | None:
    """Return a short text of the wire, cleaned and cut; None for what is none."""
    return _text(value, MAX_IDENTIFIER)


def _kind(status: int, error: dict[str, Any]) -> type[APIError]:
    code, type_ = identifier(_details(error).get("error_code")), identifier(error.get("type"))
    if code in BY_CODE:
        return BY_CODE[code]
    if status == 400 and str(error.get("message")).startswith(USER_SET_LIMITS):
        return SpendLimitReached
    if status >= 500:
        return ServerFault
    return BY_STATUS.get(status) or BY_TYPE.get(type_ or "", APIError)


def _error(
    kind: type[APIError], message: str, status: int, headers: Mapping[str, str], *, body: dict[str, Any] | None = None
) -> APIError:
    body = body or {}
    error = body.get("error", {})
    return kind(
        message,
        status=status,
        type=identifier(error.get("type")),
        error_code=identifier(_details(error).get("error_code")),
        request_id=identifier(body.get("request_id")) or identifier(headers.get("request-id")),
        retry_after=retry_after(headers),
        details=_details(error),
    )


def _envelope(text: str) -> dict[str, Any] | None:
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) and isinstance(body.get("error"), dict) else None


def _details(error: dict[str, Any]) -> dict[str, Any]:
    details = error.get("details")
    return details if isinstance(details, dict) else {}


def _text(value: object, longest: int) -> str | None:
    return storable.text(value, longest) if isinstance(value, str) and value else None


def _refused_redirect(headers: Mapping[str, str]) -> str:
    try:
        host = urlsplit(headers.get("location", "")).hostname
    except ValueError:
        host = None
    return f"a redirect to {host or 'another address'} was refused; check the base URL"
