"""The API's objects as our columns."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.utils.dateparse import parse_datetime
from django.utils.timezone import is_naive

from django_claude_batches import wire
from django_claude_batches.models.mirror import COUNTS


def moment(text: Any) -> datetime | None:
    """Give the API's RFC 3339 time as an aware datetime; None for what is none."""
    try:
        found = parse_datetime(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return None if found is None or is_naive(found) else found


def mirrored(data: wire.MessageBatch) -> dict[str, Any]:
    """Give a batch's mirrored columns."""
    counts: Mapping[str, Any] = data.get("request_counts", {})
    times = ("created_at", "expires_at", "ended_at", "cancel_initiated_at", "archived_at")
    return {
        "processing_status": str(data.get("processing_status") or "")[:40],
        "results_url": str(data.get("results_url") or "")[:500],
        **{f"{name}_count": _count(counts.get(name)) for name in COUNTS},
        **{name: moment(data.get(name)) for name in times},
    }


def total(data: wire.MessageBatch) -> int:
    """Count a remote batch's requests: the counts always add up to them."""
    counts = mirrored(data)
    return sum(counts[f"{name}_count"] for name in COUNTS)


def _count(value: Any) -> int:
    return value if isinstance(value, int) and 0 <= value <= 2_000_000_000 else 0
