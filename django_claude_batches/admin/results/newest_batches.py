"""The newest batches that have rows for a filter of the list of all results, by the stored counts of the batches.

A filter on a column of the results would read their table backwards, and all of it if nothing matches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from django.db import connections
from django.db.models import Exists, OuterRef

from django_claude_batches.admin.base.error_groups import ErrorGroup, error_groups
from django_claude_batches.models import MessageBatch, UsageRollup
from django_claude_batches.models.batch.outcomes import method_of, outcome_counts, read_invalid_counts
from django_claude_batches.models.batch_state import REMOTE
from django_claude_batches.models.usage import MAX_ERROR_GROUPS

MAX_BATCHES = 1_000

# Results that a filter reads on a database without partial indexes: as many as a large batch has. Other databases
# have partial indexes for the rare outcomes (migration 0002).
MAX_READ = 100_000

# Outcomes that each database finds by an index.
INDEXED = frozenset({"succeeded", "errored", "canceled", "expired"})

# Outcomes of answers: what the API counts as succeeded.
ANSWERS = frozenset({"succeeded", "answered", "truncated", "refused", "unfinished", "invalid_output"})

COLUMNS = ("state", "run", "missing_count", "result_counts", "error_groups", "cost_usd")
API_COUNTS = ("processing_count", "succeeded_count", "errored_count", "canceled_count", "expired_count")


class NewestBatches:
    """The newest batches that may have results, of those that the user may see; the newest first."""

    def __init__(self, batches: Any) -> None:
        off_tier = UsageRollup.objects.using(batches.db).filter(batch=OuterRef("pk"), other_tier_results__gt=0)
        rows = batches.filter(state__in=REMOTE).annotate(is_off_tier=Exists(off_tier)).order_by("-pk")
        self.batches: list[MessageBatch] = list(rows.only(*COLUMNS, *API_COUNTS)[:MAX_BATCHES])
        self.is_indexed = connections[batches.db].features.supports_partial_indexes
        # How many of these batches the filters have selected from.
        self.looked_at = len(self.batches)

    @property
    def are_all(self) -> bool:
        """Return whether the filters have selected from all batches."""
        return self.looked_at == len(self.batches) < MAX_BATCHES

    def with_outcome(self, method: str) -> list[int]:
        """Return the primary keys of batches that have results with this outcome, named by its queryset method.

        One query.
        """
        read_invalid_counts(self.batches)
        chosen = [batch.pk for batch in self.batches if _count(batch, method)]
        return chosen if method in INDEXED else self._readable(chosen)

    def with_error(self, error_type: str) -> list[int]:
        """Return the primary keys of batches that have errors of this type."""
        kinds = ((batch.pk, {each.error_type for each in error_groups(batch)}) for batch in self.batches)
        return [pk for pk, error_types in kinds if error_type in error_types]

    def of_another_tier(self) -> list[int]:
        """Return the primary keys of batches that have results not billed at the batch rate."""
        return self._readable(batch.pk for batch in self.batches if batch.is_off_tier)  # type: ignore[attr-defined]

    def of_unknown_cost(self) -> list[int]:
        """Return the primary keys of batches that have results of unknown cost."""
        return self._readable(batch.pk for batch in self.batches if batch.cost_usd is None)

    def _readable(self, chosen: Iterable[int]) -> list[int]:
        """Return the chosen batches; without a partial index, only the newest, up to MAX_READ results."""
        pks, total = set(chosen), 0
        for number, batch in enumerate(self.batches, 1):
            if self.is_indexed or batch.pk not in pks:
                continue
            total += sum(getattr(batch, name) for name in API_COUNTS)
            if total > MAX_READ and number < self.looked_at:
                self.looked_at = number
                return [each.pk for each in self.batches[:number] if each.pk in pks]
        return list(pks)

    def error_groups(self) -> list[ErrorGroup]:
        """Return the kinds of error of these batches, the most frequent first."""
        counts: Counter[str] = Counter()
        for batch in self.batches:
            for each in error_groups(batch):
                counts[each.error_type] += each.rows
        return [ErrorGroup(*item) for item in counts.most_common(MAX_ERROR_GROUPS)]


def _count(batch: MessageBatch, method: str) -> int:
    counts = {each.name: each for each in outcome_counts(batch)}
    if method == "succeeded":
        return sum(counts[name].count for name in ANSWERS & counts.keys())
    found = sum(each.count for each in counts.values() if method_of(each.name) == method)
    # While results are being stored, any of the answers may be one.
    return found + (counts["answered"].count if method in ANSWERS | {"usable"} and "answered" in counts else 0)
