"""Delays before the next poll or retry."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from django.utils import timezone

NO_DELAY = timedelta(0)
MAX_BACKOFF = timedelta(hours=1)
MIN_POLL_DELAY = timedelta(seconds=30)
MAX_POLL_DELAY = timedelta(minutes=10)
# The server's own hint in the `retry-after` of a poll (docs/reference/wire.md §2.2).
CANCEL_POLL_DELAY = timedelta(seconds=10)

MAX_RETRY_AFTER = 86_400.0


def jittered(delay: timedelta) -> timedelta:
    """Return the delay changed at random by up to a fifth, so that simultaneous work spreads out."""
    return delay * random.uniform(0.8, 1.2)  # noqa: S311 (no secret)


def backoff(failures: int) -> timedelta:
    """Return the delay after so many failures: 30 s, 1 min, 2 min … up to an hour."""
    return jittered(min(timedelta(seconds=30) * 2 ** min(failures, 10), MAX_BACKOFF))


def honor_retry_after(error: Exception | None, delay: timedelta) -> timedelta:
    """Return the delay, or the server's `retry-after` if that is longer, up to a day."""
    asked = getattr(error, "retry_after", None)
    return max(delay, timedelta(seconds=min(asked, MAX_RETRY_AFTER))) if asked else delay


def poll_delay(created_at: datetime | None) -> timedelta:
    """Return a tenth of the batch's age, between 30 s and 10 min."""
    age = timezone.now() - created_at if created_at else NO_DELAY
    return jittered(min(max(age * 0.1, MIN_POLL_DELAY), MAX_POLL_DELAY))
