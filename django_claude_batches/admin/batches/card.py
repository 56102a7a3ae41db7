"""A batch's page in step with the batch."""

from __future__ import annotations

from typing import Any

from django.db.models import Q
from django.http import HttpRequest

from django_claude_batches.admin.batches.detail import batch_page
from django_claude_batches.admin.batches.related_rows import MOST_ROWS
from django_claude_batches.admin.batches.run_facts import with_run
from django_claude_batches.admin.pages.live import SECONDS, SECONDS_OF_OURS, MovingAdminMixin
from django_claude_batches.models import MessageBatch, State
from django_claude_batches.models.batch_state import FETCHING

OURS = FETCHING | {State.QUEUED, State.SUBMITTING, State.INGESTED}
"""The states in which a worker of ours does the next thing."""


class CardAdminMixin(MovingAdminMixin):
    def fetch(self, request: HttpRequest, pk: int) -> Any:
        """Give the batch, with the one that it retries, those that retry it, and how far its run is: one query."""
        rows = with_run(self.get_queryset(request).filter(Q(pk=pk) | Q(parent=pk))).select_related("parent", "run")
        # The batch is older than those that retry it.
        found = {row.pk: row for row in rows.order_by("pk")[: MOST_ROWS + 1]}
        batch = found.pop(pk, None)
        if batch is not None:
            batch.retried_by = list(found.values())
        return batch

    def moves(self, row: MessageBatch) -> bool:
        return row.is_live or (row.run is not None and row.run.is_active and row.delivered_at is None)

    def seconds(self, row: MessageBatch) -> int:
        return SECONDS_OF_OURS if row.state in OURS else SECONDS

    def page_of(self, request: HttpRequest, row: MessageBatch) -> dict[str, Any]:
        return batch_page(self, request, row)
