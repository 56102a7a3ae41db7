"""All that a tick finds to do."""

from __future__ import annotations

from typing import Any

from django.db.models import Exists

from django_claude_batches.models.batch import MessageBatch
from django_claude_batches.models.delivery import DeliveryChunk
from django_claude_batches.models.run import JobRun
from django_claude_batches.models.upload import BatchUpload

KINDS: tuple[Any, ...] = (MessageBatch, BatchUpload, JobRun, DeliveryChunk)


def is_work_due() -> bool:
    """Whether the time of anything has come at which nobody works; by the database's clock."""
    return any(kind.objects.primary().due().exists() for kind in KINDS)


def is_work_due_column() -> Any:
    """Give the same as a column of another query."""
    batches, uploads, runs, chunks = (Exists(kind.objects.primary().due().order_by()) for kind in KINDS)
    return batches | uploads | runs | chunks
