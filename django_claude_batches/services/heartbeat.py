"""Renew leases during long steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from django_claude_batches.models import MessageBatch

# Seconds between two renewals of a lease.
RENEWAL_SECONDS = 60.0


def no_renewal() -> None:
    """Renew nothing."""


def heartbeat(held: Mapping[int, str], *, also: Callable[[], object] = no_renewal) -> Callable[[], None]:
    """Return a function that renews the leases, once a minute at most, and calls `also` each time.

    `held` maps primary keys to tokens. A lost lease is not noticed here: the conditional UPDATEs that need the lease
    then change nothing.
    """

    def renew_leases() -> None:
        for pk, token in held.items():
            MessageBatch.objects.primary().renew(pk, token)

    renew_if_old = at_intervals(RENEWAL_SECONDS, renew_leases)

    def renew() -> None:
        renew_if_old()
        also()

    return renew


def at_intervals(seconds: float, do: Callable[[], object]) -> Callable[[], None]:
    """Return a function that calls `do` if the last call was at least so many seconds ago, counted from now."""
    done_at = time.monotonic()

    def maybe() -> None:
        nonlocal done_at
        if time.monotonic() - done_at >= seconds:
            do()
            done_at = time.monotonic()

    return maybe
