"""Convert the API's batch objects to columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django_claude_batches import wire
from django_claude_batches.models.batch.columns import COUNTS, LENGTHS
from django_claude_batches.sanitize import moment, short_text

__all__ = ["mirror_columns", "moment", "request_total"]

TIMES = ("created_at", "expires_at", "ended_at", "cancel_initiated_at", "archived_at")

MAX_COUNT = 2_000_000_000


def mirror_columns(data: wire.MessageBatch) -> dict[str, Any]:
    """Return a batch's mirrored columns as they will be read back; values that are no text, time or count are None."""
    counts: Mapping[str, Any] = data.get("request_counts", {})
    return {
        **{name: short_text(data.get(name), longest) for name, longest in LENGTHS.items()},
        **{f"{name}_count": _count(counts.get(name)) for name in COUNTS},
        **{name: moment(data.get(name)) for name in TIMES},
    }


def request_total(data: wire.MessageBatch) -> int:
    """Return the number of a remote batch's requests: the sum of its counts, or the largest that a column holds."""
    counts = mirror_columns(data)
    total: int = sum(counts[f"{name}_count"] for name in COUNTS)
    return min(total, MAX_COUNT)


def _count(value: Any) -> int:
    return value if type(value) is int and 0 <= value <= MAX_COUNT else 0
