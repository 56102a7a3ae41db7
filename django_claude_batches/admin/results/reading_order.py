"""The order in which a batch's results are shown: that of its requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django_claude_batches.admin.base.filters import read_pk
from django_claude_batches.models import MessageBatch


@dataclass(frozen=True, slots=True)
class ReadingOrder:
    batch: MessageBatch

    @property
    def key(self) -> str:
        """Return the column to order by: the request's position, or the custom_id if the requests are not known."""
        has_requests = self.batch.body_bytes > 0
        return "request__position" if has_requests else "custom_id"

    def ordered(self, results: Any) -> Any:
        """Return the batch's results in this order.

        The condition on the request's batch lets the database walk the index of its requests by position.
        """
        if self.key == "custom_id":
            return results.order_by("batch_id", "custom_id")
        return results.filter(request__batch=self.batch.pk).order_by("request__position")

    def after(self, results: Any, key: Any) -> Any:
        """Return the ordered results that follow this key; all of them without one."""
        rows = self.ordered(results)
        return rows if key is None else rows.filter(**{f"{self.key}__gt": key})

    def before(self, results: Any, key: Any) -> Any:
        """Return the results that precede this key, the nearest first."""
        return self.ordered(results).filter(**{f"{self.key}__lt": key}).reverse()

    def read_key(self, text: str) -> Any:
        """Return the key in a query string; None if there is none."""
        return text or None if self.key == "custom_id" else read_pk(text)
