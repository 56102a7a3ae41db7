"""Select batches by state, age, need of attention, and what is due."""

from __future__ import annotations

from datetime import timedelta
from typing import Self, TypeVar

from django.db import models
from django.db.models import Q

from django_claude_batches.db.dispatch import DispatchableQuerySet
from django_claude_batches.db.leases import now_plus
from django_claude_batches.models.batch import attention
from django_claude_batches.models.batch_state import ALWAYS_DUE, FETCHING, FINAL, RUNNING, State

_M_co = TypeVar("_M_co", bound=models.Model, covariant=True)

# Requests expire if Anthropic has not processed them 24 hours after their batch was created.
NEARS_EXPIRY = timedelta(hours=23)

# Results can be fetched for 29 days after their batch was created (docs/reference/wire.md §11.16).
NEARS_ARCHIVING = timedelta(days=27)

# Canceling was requested here, but not sent to Anthropic yet.
CANCEL_PENDING = Q(state=State.IN_PROGRESS, cancel_requested_at__isnull=False, cancel_initiated_at__isnull=True)


class BatchStateQuerySet(DispatchableQuerySet[_M_co]):
    def drafts(self) -> Self:
        return self.filter(state=State.DRAFT)

    def in_flight(self) -> Self:
        """Match batches that were submitted and are not finished."""
        return self.filter(state__in=ALWAYS_DUE)

    def running(self) -> Self:
        """Match batches that Anthropic processes."""
        return self.filter(state__in=RUNNING)

    def to_poll(self) -> Self:
        """Match batches that are only polled: a listing shows whether they changed."""
        return self.running().exclude(CANCEL_PENDING)

    def to_advance(self) -> Self:
        """Match batches that need more than polling. Each is advanced by its own task."""
        return self.filter(~Q(state__in=RUNNING) | CANCEL_PENDING)

    def finished(self) -> Self:
        return self.filter(state__in=FINAL)

    def needing_attention(self) -> Self:
        """Match batches that need attention; `MessageBatch.attention` says why (models/batch/attention.py)."""
        return self.filter(attention.is_needed())

    def nearing_deadline(self) -> Self:
        """Match batches still processed 23 hours after creation, and batches without stored results after 27 days."""
        running = Q(state__in=RUNNING, created_at__lt=now_plus(-NEARS_EXPIRY))
        fetching = Q(state__in=FETCHING, announced_at__isnull=True, created_at__lt=now_plus(-NEARS_ARCHIVING))
        return self.filter(running | fetching)

    def of_job(self, name: str) -> Self:
        """Match the batches of a job, by its name. A job's batches have its name as their kind."""
        return self.of_kind(name)

    def of_kind(self, kind: str) -> Self:
        return self.filter(kind=kind)
