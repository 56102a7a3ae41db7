"""What in a run its verbs are about."""

from __future__ import annotations

from typing import Any

from django.db.models import Exists, OuterRef

from django_claude_batches.models import DeliveryChunk, ParkedResult


def with_troubles(runs: Any) -> Any:
    """Add to runs whether they have parked rows, rows that failed for good, and deliveries that nobody tries again."""
    chunks = DeliveryChunk.objects.primary().filter(batch__run=OuterRef("pk"))
    return runs.annotate(
        has_parked=Exists(ParkedResult.objects.primary().filter(batch__run=OuterRef("pk"))),
        has_failed=Exists(chunks.with_failures()),
        is_stuck=Exists(chunks.stuck()),
    )
