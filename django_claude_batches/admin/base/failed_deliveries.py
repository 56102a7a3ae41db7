"""The failed deliveries of a run or a batch, grouped by their error."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from django.db.models import Count, Subquery, Window
from django.db.models.functions import Coalesce, RowNumber

from django_claude_batches.admin.base import display
from django_claude_batches.admin.base.permissions import Viewer
from django_claude_batches.models import BatchRequest, BatchResult, FailedDelivery

# Rows among which the groups are counted: each row has a traceback of up to 2,000 characters.
MAX_COUNTED = 1_000

# Greater than any primary key.
BEYOND = 2**62


@dataclass(frozen=True, slots=True)
class FailedDeliveryGroup:
    """Rows with the same error: their number, the error in one line and in full, and the first row with its URL."""

    count: int
    error: str
    whole_error: str
    first: FailedDelivery
    url: str


def failed_delivery_groups(viewer: Viewer, of: dict[str, Any]) -> list[FailedDeliveryGroup]:
    """Return the errors among the first 1,000 rows of a run or a batch, the most frequent first; one query."""
    found: dict[str, FailedDeliveryGroup] = {}
    for group in _groups(viewer, FailedDelivery.objects.primary().filter(**of)):
        # Without the permission to read answers, errors that differ only in their message look alike.
        same = found.get(group.error)
        found[group.error] = group if same is None else replace(same, count=same.count + group.count)
    return sorted(found.values(), key=lambda group: -group.count)


def _groups(viewer: Viewer, rows: Any) -> Iterator[FailedDeliveryGroup]:
    last = Coalesce(Subquery(rows.order_by("pk").values("pk")[MAX_COUNTED - 1 : MAX_COUNTED]), BEYOND)
    counted = rows.filter(pk__lte=last).annotate(
        count=Window(Count("pk"), partition_by="error"),
        number=Window(RowNumber(), partition_by="error", order_by="pk"),
    )
    shown = ("batch_id", "outcome", "error", "traceback", "request__custom_id", "request__result__custom_id")
    firsts = counted.filter(number=1).select_related("request__result").only(*shown).order_by("-count", "pk")
    for row in firsts:
        error, whole = display.told(viewer.visible(row.raised))
        yield FailedDeliveryGroup(row.count, error, whole, row, _url(viewer, row))


def _url(viewer: Viewer, row: Any) -> str:
    result = getattr(row.request, "result", None)
    url = viewer.row_url(BatchResult, result.pk) if result is not None else ""
    return url or viewer.row_url(BatchRequest, row.request_id)
