"""What in a run may wait for a person."""

from __future__ import annotations

from typing import Any

from django.db.models import Exists, OuterRef, Q

from django_claude_batches.models import DeliveryChunk, MessageBatch, ParkedResult
from django_claude_batches.models.run import ACTIVE, WORKING
from django_claude_batches.models.state import EDITABLE

LEFT = Q(state__in=EDITABLE, released_at__isnull=False, delivered_at__isnull=True)
"""Batches that the run sent and Anthropic did not take, or somebody took back: it waits until a person sends them."""


def with_troubles(runs: Any) -> Any:
    """Add to runs whether they have parked rows, rows that failed for good, and deliveries that nobody tries again."""
    chunks = DeliveryChunk.objects.primary().filter(batch__run=OuterRef("pk"))
    return runs.annotate(
        has_parked=Exists(ParkedResult.objects.primary().filter(batch__run=OuterRef("pk"))),
        has_failed=Exists(chunks.with_failures()),
        is_stuck=Exists(chunks.stuck()),
    )


def needing_attention(runs: Any) -> Any:
    """Give the runs that wait for a person, and those with an error, which may pass by itself."""
    return with_troubles(runs).filter(_waiting() | ~Q(last_error=""))


def waiting(runs: Any) -> Any:
    """Give the runs that wait for a person: paused, or with a batch, parked rows or a delivery that stands still."""
    return with_troubles(runs).filter(_waiting())


def _waiting() -> Q:
    paused = Q(state__in=ACTIVE, paused_at__isnull=False)
    left = Q(Exists(MessageBatch.objects.primary().filter(LEFT, run=OuterRef("pk"))), state__in=WORKING)
    return paused | left | Q(has_parked=True) | Q(is_stuck=True)
