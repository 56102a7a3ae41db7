"""All that a tick finds to do."""

from __future__ import annotations

from typing import Any

from django.db.models import Exists

from django_claude_batches.models.account import AccountState
from django_claude_batches.models.batch.batch import MessageBatch
from django_claude_batches.models.delivery import DeliveryChunk
from django_claude_batches.models.run import JobRun
from django_claude_batches.models.upload import BatchUpload

DUE_MODELS: tuple[Any, ...] = (MessageBatch, BatchUpload, JobRun, DeliveryChunk)


def is_work_due() -> bool:
    """Whether the time of anything has come at which nobody works; by the database's clock."""
    return any(_due(kind).exists() for kind in DUE_MODELS)


def is_work_due_column() -> Any:
    """Give the same as a column of another query."""
    batches, uploads, runs, chunks = (Exists(_due(kind).order_by()) for kind in DUE_MODELS)
    return batches | uploads | runs | chunks


def _due(kind: Any) -> Any:
    """Give what is due of a kind: of batches not those of accounts whose servers are asked nothing now."""
    due = kind.objects.primary().due()
    if kind is not MessageBatch:
        return due
    return due.exclude(account__in=AccountState.objects.primary().cooling_down().values("alias"))
