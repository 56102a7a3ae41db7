"""What became of a batch's requests. The one definition of the groups that pages, lists and commands show.

It is read from columns of the batch, and from those of its delivery chunks: results are never counted for a page.
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
    # Until results are stored it is not known which answers are whole.
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

# Groups of which no result is stored, or none that a filter matches.
UNLISTED = frozenset({"missing", "other", "processing"})

# Methods of `results` that match the rows of a group, where they do not have its name.
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
    """Return the method of `batch.results` that matches a group's rows, which filters their list too; or empty."""
    return _METHODS.get(outcome, outcome) if outcome in LABELS and outcome not in UNLISTED else ""


def outcome_counts(batch: Any) -> list[OutcomeCount]:
    """Return how many requests had each outcome, without those that none had.

    Empty for a batch that was not sent. One query for a batch of a run, unless `read_invalid_counts` was called with
    it; none for others. Before its results are stored, and unless they were summed up, the counts are Anthropic's.
    """
    counts = _counts(batch) if batch.state in REMOTE else {}
    return [OutcomeCount(name, LABELS[name], counts[name]) for name in LABELS if counts.get(name)]


def in_words(counts: Iterable[OutcomeCount]) -> str:
    """Return the counts as text: "90 succeeded, 7 cut off"."""
    return ", ".join(f"{each.count:,} {each.label}" for each in counts)


def with_invalid_count(batches: Any) -> Any:
    """Annotate batches with what `read_invalid_counts` reads."""
    chunks = DeliveryChunk.objects.primary().filter(batch=OuterRef("pk")).order_by().values("batch")
    return batches.annotate(
        invalid_output_count=Coalesce(Subquery(chunks.annotate(n=Sum("invalid_count")).values("n")), 0)
    )


def read_invalid_counts(batches: Collection[Any]) -> None:
    """Read how many answers of these batches do not fit their job's schema: one query, none without batches of runs."""
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
