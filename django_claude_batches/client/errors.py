"""Build an exception from a response outside 200-299.

Its envelope is looked up in `error_table`. An unknown 4xx is a plain `APIStatusError`, a 5xx an `InternalServerError`;
a redirect and nearly everything without the API's envelope is an `APIResponseValidationError`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from django_claude_batches import sanitize
from django_claude_batches.client.error_table import edge_rule, kind_and_about
from django_claude_batches.client.retries import retry_after
from django_claude_batches.exceptions import (
    APIResponseValidationError,
    APIStatusError,
    NotFoundError,
    ResultsUnavailable,
)

# Characters kept of an answer that isn't the API's.
MAX_FOREIGN_TEXT = 500

# Characters of it that are examined.
MAX_FOREIGN_READ = 64 * 1024

# Characters kept of the API's messages, and of its identifiers: types, codes, request ids.
MAX_MESSAGE, MAX_IDENTIFIER = 5000, 100


def error_from_response(
    status: int, reason: str, headers: Mapping[str, str], text: str, *, about_results: bool
) -> APIStatusError | APIResponseValidationError:
    """Return the exception for an answer outside 200-299.

    `about_results`: the results were requested, where a 404 means that there are none (yet, or any more).
    """
    request_id, wait = identifier(headers.get("request-id")), retry_after(headers)
    is_redirect = 300 <= status < 400
    body = None if is_redirect else _envelope(text)
    if body is None:
        message = _refused_redirect(headers) if is_redirect else plain_text(text) or f"HTTP {status} {reason}".rstrip()
        rule = edge_rule(status)
        if rule is None:
            return APIResponseValidationError(message, status_code=status, request_id=request_id, retry_after=wait)
        return rule.kind(message, status_code=status, request_id=request_id, retry_after=wait, about=rule.about)
    error = body["error"]
    message = sanitize.short_text(error.get("message"), MAX_MESSAGE) or plain_text(text)
    code, type_ = identifier(_details(error).get("error_code")), identifier(error.get("type"))
    kind, about = kind_and_about(status, code or "", type_ or "", message)
    if kind is NotFoundError and about_results:
        kind = ResultsUnavailable
    return kind(
        message,
        status_code=status,
        type=type_,
        error_code=code,
        request_id=identifier(body.get("request_id")) or request_id,
        retry_after=wait,
        details=_details(error),
        about=about,
    )


def plain_text(text: str) -> str:
    """Return the beginning of a foreign answer as one line, without markup and control characters."""
    # No "<" within markup: with `<[^>]*>` the time grows with the square of how many there are.
    words = sanitize.UNPRINTABLE.sub(" ", re.sub(r"<[^<>]*>", " ", text[:MAX_FOREIGN_READ]))
    return sanitize.text(" ".join(words.split()), MAX_FOREIGN_TEXT)


def identifier(value: object) -> str | None:
    """Return a short text of the wire, cleaned and cut; None for what is none."""
    return sanitize.short_text(value, MAX_IDENTIFIER) or None


def _envelope(text: str) -> dict[str, Any] | None:
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) and isinstance(body.get("error"), dict) else None


def _details(error: dict[str, Any]) -> dict[str, Any]:
    details = error.get("details")
    return details if isinstance(details, dict) else {}


def _refused_redirect(headers: Mapping[str, str]) -> str:
    try:
        host = urlsplit(headers.get("location", "")).hostname
    except ValueError:
        host = None
    return f"a redirect to {host or 'another address'} was refused; check the base URL"
