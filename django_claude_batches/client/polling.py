"""Poll a batch until it has ended."""

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

# Seconds. A longer `retry-after` of a successful poll is shortened to this; of an error it ends the wait.
MAX_RETRY_AFTER = 600.0

# Consecutive failed polls that are tolerated; each was already retried. 404 is among them: it is seen temporarily up to
# 2 minutes after a create (docs/reference/wire.md §11.8).
MAX_FAILED_POLLS = 3

# Minimum time for a poll in seconds, if less than that is left of the wait.
LAST_POLL_SECONDS = 1.0

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
    """Poll until `processing_status` is `ended`; an unknown status is not an end.

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
        pause = max(poll_interval, hint)
        if deadline is not None:  # the last poll is made there
            left = deadline - time.monotonic()
            if left <= 0:
                raise WaitTimeout(f"{name} is {last_status or 'not seen'} after {timeout:g} s", last_status=last_status)
            pause = min(pause, left)
        time.sleep(pause)


def _polled(poll: Callable[[float], Reply[MessageBatch]], at_most: float) -> Reply[MessageBatch] | APIError:
    try:
        return poll(at_most)
    except TRANSIENT_ERRORS as error:
        return error
