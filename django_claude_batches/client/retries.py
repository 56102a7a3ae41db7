"""Decide whether and when to repeat a failed call.

Unknown errors are not retried. Used only for calls that are safe to repeat: reads, cancel and delete, never create.
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

# Besides all from 500 on (docs/reference/wire.md §7).
RETRIED_STATUSES = frozenset({408, 409, 429})

# Seconds. If the server asks for more, the error is raised instead, with `retry_after` set.
MAX_PAUSE = 60.0

# Seconds, as in the official SDK (docs/reference/wire.md §7).
FIRST_BACKOFF, MAX_BACKOFF = 0.5, 8.0


@dataclass(frozen=True)
class Failure:
    """One failed attempt. `advice` is the server's `x-should-retry`, None without it."""

    error: APIConnectionError | APIResponseValidationError | APIStatusError
    advice: bool | None = None


def pause_before_retry(failure: Failure, *, tries: int) -> float | None:
    """Return the seconds to wait before a retry, None for no retry. `tries` counts the retries made so far."""
    if not _is_retried(failure):
        return None
    asked = failure.error.retry_after
    if asked is not None and asked > 0:
        return asked if asked <= MAX_PAUSE else None
    backoff = min(FIRST_BACKOFF * 2.0**tries, MAX_BACKOFF)
    return backoff * (1 - 0.25 * random.random())  # noqa: S311 (spreads load, not a secret)


def _is_retried(failure: Failure) -> bool:
    error = failure.error
    if isinstance(error, SpendLimitReached):
        return False  # it lasts until a person raises it; the SDK retries in vain
    if failure.advice is not None:
        return failure.advice
    return isinstance(error, APIConnectionError) or error.status_code in RETRIED_STATUSES or error.status_code >= 500


def may_have_worked(failure: Failure) -> bool:
    """Return whether the server may have carried out the call before this attempt failed."""
    error = failure.error
    if isinstance(error, APIConnectionError):
        return error.sent
    return isinstance(error, InternalServerError | APIResponseValidationError) or error.status_code == 408


def should_retry(headers: Mapping[str, str]) -> bool | None:
    """Read `x-should-retry`, which outranks the status."""
    return {"true": True, "false": False}.get(headers.get("x-should-retry", "").lower())


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the server asks to wait: `retry-after-ms`, else `retry-after` as seconds or a date."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return max(milliseconds / 1000, 0.0)
    seconds = _number(headers.get("retry-after"))
    if seconds is not None:
        return max(seconds, 0.0)
    until = http_date(headers.get("retry-after"))
    if until is None:
        return None
    # By the server's clock, if the answer has it: ours may be minutes off.
    now = http_date(headers.get("date")) or datetime.now(UTC)
    return max((until - now).total_seconds(), 0.0)


def http_date(value: str | None) -> datetime | None:
    """Return the date of an HTTP header in UTC; None if it cannot be read or stored."""
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
