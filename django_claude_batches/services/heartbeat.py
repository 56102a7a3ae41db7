"""Renew leases during long steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from django_claude_batches.models import MessageBatch

# Seconds between two renewals of a lease.
RENEWAL_SECONDS = 60.0


def heartbeat(held: Mapping[int, str]) -> Callable[[], object]:
    """Return a function that renews the leases, once a minute at most; `held` maps primary keys to tokens.

    A lost lease is not noticed here: the conditional UPDATEs that need the lease then change nothing.
    """

    def renew() -> None:
        for pk, token in held.items():
            MessageBatch.objects.primary().renew(pk, token)

    return at_intervals(RENEWAL_SECONDS, renew)


def at_intervals(seconds: float, do: Callable[[], object]) -> Callable[[], None]:
    """Return a function that calls `do` if the last call was at least so many seconds ago, counted from now."""
    done_at = time.monotonic()

    def maybe() -> None:
        nonlocal done_at
        if time.monotonic() - done_at >= seconds:
            do()
            done_at = time.monotonic()

    return maybe
