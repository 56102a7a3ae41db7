"""Whether to try once more, and when. Closed by default: what isn't named here is not tried again.

Asked only for calls that may safely be repeated: reads, cancel and delete. Nobody asks for create.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from django_claude_batches.exceptions import (
    APIConnectionError,
    APIResponseValidationError,
    APIStatusError,
    InternalServerError,
    SpendLimitReached,
)
from django_claude_batches.sanitize import moment

RETRIED_STATUSES = frozenset({408, 409, 429})
"""Besides all from 500 on (docs/reference/wire.md §7)."""

MAX_PAUSE = 60.0
"""Seconds. Where the server asks for more the error is raised instead, with `retry_after` filled in."""

FIRST_BACKOFF, MAX_BACKOFF = 0.5, 8.0
"""Seconds, as the official SDK has them (docs/reference/wire.md §7)."""


@dataclass(frozen=True)
class Failure:
    """One try that failed. `advice` is the server's `x-should-retry`, None where it said nothing."""

    error: APIConnectionError | APIResponseValidationError | APIStatusError
    advice: bool | None = None


def pause_before_retry(failure: Failure, *, tries: int) -> float | None:
    """Return the seconds to wait before trying again, None not to. `tries` counts the retries made so far."""
    if not _is_retried(failure):
        return None
    asked = failure.error.retry_after
    if asked is not None and asked > 0:
        return asked if asked <= MAX_PAUSE else None
    backoff = min(FIRST_BACKOFF * 2.0**tries, MAX_BACKOFF)
    return backoff * (1 - 0.25 * random.random())  # noqa: S311 (it spreads load, it hides nothing)


def _is_retried(failure: Failure) -> bool:
    error = failure.error
    if isinstance(error, SpendLimitReached):
        return False  # it lasts until somebody raises it; the SDK tries in vain
    if failure.advice is not None:
        return failure.advice
    return isinstance(error, APIConnectionError) or error.status_code in RETRIED_STATUSES or error.status_code >= 500


def may_have_worked(failure: Failure) -> bool:
    """Return whether the server may have done what it was asked before this try failed."""
    error = failure.error
    if isinstance(error, APIConnectionError):
        return error.sent
    return isinstance(error, InternalServerError | APIResponseValidationError) or error.status_code == 408


def should_retry(headers: Mapping[str, str]) -> bool | None:
    """Read `x-should-retry`, which outranks the status."""
    return {"true": True, "false": False}.get(headers.get("x-should-retry", "").lower())


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Read the seconds that the server asks us to wait: `retry-after-ms`, else `retry-after` as seconds or a date."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return max(milliseconds / 1000, 0.0)
    seconds = _number(headers.get("retry-after"))
    if seconds is not None:
        return max(seconds, 0.0)
    until = http_date(headers.get("retry-after"))
    if until is None:
        return None
    # The server's own clock, where it tells: ours may be minutes off.
    now = http_date(headers.get("date")) or datetime.now(UTC)
    return max((until - now).total_seconds(), 0.0)


def http_date(value: str | None) -> datetime | None:
    """Read the date of an HTTP header in UTC, None where there is none to read, or none that can be stored."""
    try:
        found = parsedate_to_datetime(value or "")
    except (ValueError, TypeError, ArithmeticError, LookupError):  # an OverflowError for a year of 20 digits
        return None
    return moment(found if found.tzinfo else found.replace(tzinfo=UTC))


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None
