"""Tell whether any work is due, for the heartbeat notice and `doctor`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.db.models import Exists

from django_claude_batches.models.account import AccountState
from django_claude_batches.models.batch.batch import MessageBatch
from django_claude_batches.models.delivery import DeliveryChunk
from django_claude_batches.models.run import JobRun
from django_claude_batches.models.upload import BatchUpload

# The models whose rows can be due, each with the lookup that leads to its account.
DUE_MODELS: dict[Any, str] = {
    MessageBatch: "account",
    BatchUpload: "account",
    JobRun: "account",
    DeliveryChunk: "batch__account",
}


def is_work_due() -> bool:
    """Return whether any row is due and not leased, by the database's clock."""
    return any(_due(kind).exists() for kind in DUE_MODELS)


def is_work_due_column(accounts: Collection[str] | None = None) -> Any:
    """Return `is_work_due` for these accounts (all if None) as a column of another query."""
    due = (_due(kind).of_accounts(accounts, path).order_by() for kind, path in DUE_MODELS.items())
    batches, uploads, runs, chunks = map(Exists, due)
    return batches | uploads | runs | chunks


def _due(kind: Any) -> Any:
    """Return the due rows of a model, without the batches of accounts that are cooling down."""
    due = kind.objects.primary().due()
    if kind is not MessageBatch:
        return due
    return due.exclude(account__in=AccountState.objects.primary().cooling_down().values("alias"))
