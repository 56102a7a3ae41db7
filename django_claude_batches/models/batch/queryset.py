"""Which batches: by their state, their age, and what is due for them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Self, TypeVar

from django.db import models
from django.db.models import Q

from django_claude_batches.db.dispatch import DispatchedQuerySet
from django_claude_batches.db.leases import is_due, now_plus
from django_claude_batches.models.batch import attention
from django_claude_batches.models.batch_state import ALWAYS_DUE, FETCHING, FINAL, RUNNING, State

_M_co = TypeVar("_M_co", bound=models.Model, covariant=True)

NEARS_EXPIRY = timedelta(hours=23)
"""What Anthropic has not processed 24 hours after a batch was made expires."""

NEARS_ARCHIVING = timedelta(days=27)
"""Results can be fetched for 29 days from when their batch was made (docs/reference/wire.md §11.16)."""

CANCEL_PENDING = Q(state=State.IN_PROGRESS, cancel_requested_at__isnull=False, cancel_initiated_at__isnull=True)
"""Somebody wants it canceled, and Anthropic was not asked yet."""


class BatchStateQuerySet(DispatchedQuerySet[_M_co]):
    def drafts(self) -> Self:
        return self.filter(state=State.DRAFT)

    def in_flight(self) -> Self:
        """Those that were submitted and are not finished."""
        return self.filter(state__in=ALWAYS_DUE)

    def running(self) -> Self:
        """Those that Anthropic works on."""
        return self.filter(state__in=RUNNING)

    def to_poll(self) -> Self:
        """Those whose news come with a listing."""
        return self.running().exclude(CANCEL_PENDING)

    def to_advance(self) -> Self:
        """Those that each need work of their own: everything but polling."""
        return self.filter(~Q(state__in=RUNNING) | CANCEL_PENDING)

    def finished(self) -> Self:
        return self.filter(state__in=FINAL)

    def needing_attention(self) -> Self:
        """Those that a person should look at; `MessageBatch.attention` says why (models/batch/attention.py)."""
        return self.filter(attention.is_needed())

    def nearing_deadline(self) -> Self:
        """Those still being worked on near 24 hours, and those whose results are not all stored near 29 days."""
        running = Q(state__in=RUNNING, created_at__lt=now_plus(-NEARS_EXPIRY))
        fetching = Q(state__in=FETCHING, announced_at__isnull=True, created_at__lt=now_plus(-NEARS_ARCHIVING))
        return self.filter(running | fetching)

    def of_kind(self, kind: str) -> Self:
        return self.filter(kind=kind)

    def due(self) -> Self:
        """Those whose time has come and on which nobody works, by the database's clock."""
        return self.filter(is_due())

    def dispatch_due(self, limit: int, rest: timedelta, *, besides: Collection[int] = ()) -> list[int]:
        """Give the primary keys of the first due ones, without those whose message rests (`DispatchedQuerySet`)."""
        return self.to_advance().due()._dispatch_due(limit, rest, besides=besides)
