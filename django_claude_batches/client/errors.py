"""An answer outside 200-299 as an error of ours: its envelope read, and looked up in `error_table`.

An unknown 4xx is a plain `APIError`; a 5xx, a redirect and whatever isn't in the API's envelope is a `ServerFault`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from django_claude_batches import sanitize
from django_claude_batches.client.error_table import edge_kind_and_about, kind_and_about
from django_claude_batches.client.retries import retry_after
from django_claude_batches.exceptions import About, APIError, NotFoundError, ResultsUnavailable, ServerFault

MAX_FOREIGN_TEXT = 500
"""Characters kept of an answer that isn't the API's."""

MAX_FOREIGN_READ = 64 * 1024
"""Characters of it that are looked at."""

MAX_MESSAGE, MAX_IDENTIFIER = 5000, 100
"""Characters kept of the API's own words, and of its short ones: types, codes, request ids."""


def error_from_response(
    status: int, reason: str, headers: Mapping[str, str], text: str, *, about_results: bool
) -> APIError:
    """Make the error that an answer outside 200-299 stands for.

    `about_results`: the results were asked for, where a 404 says that there are none (yet, or any more).
    """
    if 300 <= status < 400:
        return _error(ServerFault, About.UNKNOWN, _refused_redirect(headers), status, headers)
    body = _envelope(text)
    if body is None:
        kind, about = edge_kind_and_about(status)
        return _error(kind, about, plain_text(text) or f"HTTP {status} {reason}".rstrip(), status, headers)
    error = body["error"]
    message = sanitize.short_text(error.get("message"), MAX_MESSAGE) or plain_text(text)
    code, type_ = identifier(_details(error).get("error_code")), identifier(error.get("type"))
    kind, about = kind_and_about(status, code or "", type_ or "", message)
    if kind is NotFoundError and about_results:
        kind = ResultsUnavailable
    return _error(kind, about, message, status, headers, body=body)


def plain_text(text: str) -> str:
    """Return the beginning of a foreign answer as one line, without markup and control characters."""
    # No "<" within markup: with `<[^>]*>` the time grows with the square of how many there are.
    words = sanitize.UNPRINTABLE.sub(" ", re.sub(r"<[^<>]*>", " ", text[:MAX_FOREIGN_READ]))
    return sanitize.text(" ".join(words.split()), MAX_FOREIGN_TEXT)


def identifier(value: object) -> str | None:
    """Return a short text of the wire, cleaned and cut; None for what is none."""
    return sanitize.short_text(value, MAX_IDENTIFIER) or None


def _error(
    kind: type[APIError],
    about: About,
    message: str,
    status: int,
    headers: Mapping[str, str],
    *,
    body: dict[str, Any] | None = None,
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
        about=about,
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


def _refused_redirect(headers: Mapping[str, str]) -> str:
    try:
        host = urlsplit(headers.get("location", "")).hostname
    except ValueError:
        host = None
    return f"a redirect to {host or 'another address'} was refused; check the base URL"
