"""Count a batch's requests by outcome. The one definition of the groups that pages, lists and commands show.

The counts come from columns of the batch and of its delivery chunks: results are never counted for a page.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import OuterRef, Subquery, Sum
from django.db.models.functions import Coalesce
from django.utils.translation import gettext_lazy as _

from django_claude_batches.models.batch_state import REMOTE
from django_claude_batches.models.delivery import DeliveryChunk
from django_claude_batches.models.result import outcome_of

# The groups, in the order in which they are shown.
LABELS = {
    "succeeded": _("succeeded"),
    # Until results are stored, it is not known which answers are complete.
    "answered": _("answered"),
    "truncated": _("cut off"),
    "refused": _("refused"),
    "unfinished": _("not finished"),
    "invalid_output": _("invalid output"),
    "errored": _("errored"),
    "expired": _("expired"),
    "canceled": _("canceled"),
    "missing": _("missing"),
    "other": _("of another type"),
    "processing": _("processing"),
}

# Groups without stored results, or whose results no filter matches.
UNLISTED = frozenset({"missing", "other", "processing"})

# Methods of `batch.results` that match a group's rows, if the method's name is not that of the group.
_METHODS = {"succeeded": "usable", "answered": "succeeded"}


@dataclass(frozen=True, slots=True)
class OutcomeCount:
    """How many of a batch's requests, or of a run's rows, had this outcome."""

    name: str
    label: Any
    count: int

    @property
    def method(self) -> str:
        return method_of(self.name)


def method_of(outcome: str) -> str:
    """Return the name of the method of `batch.results` that matches a group's rows; empty if there is none.

    The list of results can be filtered by the same name.
    """
    return _METHODS.get(outcome, outcome) if outcome in LABELS and outcome not in UNLISTED else ""


def outcome_counts(batch: Any) -> list[OutcomeCount]:
    """Return how many requests had each outcome, leaving out outcomes that no request had.

    Empty for a batch that was not sent. Until the results are stored and summed up, the counts are Anthropic's. One
    query for a batch of a run, unless `read_invalid_counts` was called with the batch; none for other batches.
    """
    counts = _counts(batch) if batch.state in REMOTE else {}
    return [OutcomeCount(name, LABELS[name], counts[name]) for name in LABELS if counts.get(name)]


def in_words(counts: Iterable[OutcomeCount]) -> str:
    """Return the counts as text: "90 succeeded, 7 cut off"."""
    return ", ".join(f"{each.count:,} {each.label}" for each in counts)


def with_invalid_count(batches: Any) -> Any:
    """Annotate batches with `invalid_output_count`, as `read_invalid_counts` sets it."""
    chunks = DeliveryChunk.objects.primary().filter(batch=OuterRef("pk")).order_by().values("batch")
    return batches.annotate(
        invalid_output_count=Coalesce(Subquery(chunks.annotate(n=Sum("invalid_count")).values("n")), 0)
    )


def read_invalid_counts(batches: Collection[Any]) -> None:
    """Set `invalid_output_count` on each batch: how many of its answers do not fit the job's schema.

    One query; none if no batch belongs to a run.
    """
    of_runs = [batch.pk for batch in batches if batch.run_id is not None]
    chunks = DeliveryChunk.objects.primary().filter(batch__in=of_runs).order_by()
    sums = dict(chunks.values_list("batch").annotate(Sum("invalid_count"))) if of_runs else {}
    for batch in batches:
        batch.invalid_output_count = sums.get(batch.pk, 0)


def _counts(batch: Any) -> Counter[str]:
    counts = Counter(missing=batch.missing_count)
    if batch.result_counts is None:
        for name in ("processing", "errored", "canceled", "expired"):
            counts[name] = getattr(batch, f"{name}_count")
        counts["answered"] = batch.succeeded_count
        return counts
    for group in batch.result_counts:
        outcome = outcome_of(group["result_type"], group["stop_reason"])
        counts[outcome if outcome in LABELS else "other"] += group["count"]
    if not hasattr(batch, "invalid_output_count"):
        read_invalid_counts([batch])
    invalid = min(max(batch.invalid_output_count, 0), counts["succeeded"])
    return counts + Counter(invalid_output=invalid) - Counter(succeeded=invalid)
