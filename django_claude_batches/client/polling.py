"""Waiting for a batch: poll until it has ended, politely and not for ever."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from django_claude_batches.client.transport import Reply
from django_claude_batches.exceptions import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    InternalServerError,
    NotFoundError,
    RateLimitError,
    WaitTimeout,
)
from django_claude_batches.wire import MessageBatch

MAX_RETRY_AFTER = 600.0
"""Seconds. A longer `retry-after` on a good poll is cut to this; on an error it ends the wait."""

MAX_FAILED_POLLS = 3
"""Failed polls that are borne; each was already retried. 404 is among them: it is seen in passing up to 2 minutes after
a create (docs/reference/wire.md §11.8)."""

LAST_POLL_SECONDS = 1.0
"""Seconds that a poll is given where less than that is left of the wait."""

TRANSIENT_ERRORS = (
    APIConnectionError,
    APIResponseValidationError,
    RateLimitError,
    NotFoundError,
    InternalServerError,
)


def poll_until_ended(
    poll: Callable[[float], Reply[MessageBatch]],
    *,
    name: str,
    timeout: float | None,
    poll_interval: float,
    on_poll: Callable[[MessageBatch], object] | None,
) -> MessageBatch:
    """Poll until `processing_status` is `ended`; a status that we don't know is not an end.

    `poll` is called with the seconds that it may take.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    last_status: str | None = None
    misses = 0
    while True:
        left = math.inf if deadline is None else deadline - time.monotonic()
        outcome = _polled(poll, max(left, LAST_POLL_SECONDS))
        if isinstance(outcome, Reply):
            misses, last_status = 0, outcome.data["processing_status"]
            if on_poll is not None:
                on_poll(outcome.data)
            if last_status == "ended":
                return outcome.data
            hint = min(outcome.retry_after or 0.0, MAX_RETRY_AFTER)
        else:
            misses += 1
            hint = outcome.retry_after or 0.0
            if misses >= MAX_FAILED_POLLS or hint > MAX_RETRY_AFTER:
                raise outcome
        _sleep(max(poll_interval, hint), deadline, name=name, timeout=timeout, last_status=last_status)


def _polled(poll: Callable[[float], Reply[MessageBatch]], at_most: float) -> Reply[MessageBatch] | APIError:
    try:
        return poll(at_most)
    except TRANSIENT_ERRORS as error:
        return error


def _sleep(
    seconds: float, deadline: float | None, *, name: str, timeout: float | None, last_status: str | None
) -> None:
    """Sleep, but not past the deadline: there the last poll is made, and after that the time is over."""
    if deadline is not None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise WaitTimeout(f"{name} is {last_status or 'not seen'} after {timeout:g} s", last_status=last_status)
        seconds = min(seconds, left)
    time.sleep(seconds)
