"""Keeping hold of batches during a step that may take longer than their lease."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from django_claude_batches.models import MessageBatch

HEARTBEAT = 60.0
"""Seconds between two renewals of a lease."""


def heartbeat(held: Mapping[int, str]) -> Callable[[], object]:
    """Return a function that renews the leases, once a minute at most; `held` has the tokens by primary key.

    Whether that succeeds is seen where the lease counts.
    """
    renewed_at = time.monotonic()

    def renew() -> None:
        nonlocal renewed_at
        if time.monotonic() - renewed_at >= HEARTBEAT:
            for pk, token in held.items():
                MessageBatch.objects.primary().renew(pk, token)
            renewed_at = time.monotonic()

    return renew
