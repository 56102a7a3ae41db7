"""Select the results of an export, by the same conditions as the filters of the list of results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_

from django_claude_batches.export.cells import CELLS
from django_claude_batches.models.batch.batch import MessageBatch
from django_claude_batches.models.request import BatchRequest, BatchRequestQuerySet
from django_claude_batches.models.result import BatchResultQuerySet

# Methods of `batch.results` that name an outcome.
RESULT_FILTERS = (
    *("usable", "succeeded", "errored", "canceled", "expired"),
    *("truncated", "refused", "unfinished", "invalid_output"),
)


def missing_rows(
    batch: MessageBatch, selection: ResultSelection, columns: Iterable[str]
) -> BatchRequestQuerySet | None:
    """Return the requests without a result that a CSV of the batch includes, so that it has every uploaded row.

    Return None unless the batch was made from a table, its cells are exported, and the results are not filtered.
    """
    if CELLS not in columns or not batch.cells_header or not selection.is_everything:
        return None
    return BatchRequest.objects.primary().filter(batch=batch).missing()


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultSelection:
    """The conditions of an export. Results have to meet all of them; without conditions, all results are included."""

    # Any of these outcomes, of RESULT_FILTERS.
    outcomes: Sequence[str] = ()
    # Errored, with any of these error types.
    error_types: Sequence[str] = ()
    # Not billed at the batch rate.
    of_another_tier: bool = False
    # Of unknown cost.
    of_unknown_cost: bool = False
    # A prefix of the custom_id.
    beginning: str = ""

    def apply(self, results: BatchResultQuerySet) -> BatchResultQuerySet:
        chosen = [getattr(results, name)() for name in self.outcomes]
        found: BatchResultQuerySet = reduce(or_, chosen) if chosen else results
        if self.error_types:
            found = found.errored().filter(error_type__in=self.error_types)
        if self.of_another_tier:
            found = found.of_another_tier()
        if self.of_unknown_cost:
            found = found.of_unknown_cost()
        return found.filter(custom_id__startswith=self.beginning) if self.beginning else found

    @property
    def is_everything(self) -> bool:
        return not self.outcomes and not self.has_further_filters

    @property
    def has_further_filters(self) -> bool:
        """Return whether there are conditions other than outcomes."""
        return bool(self.error_types or self.of_another_tier or self.of_unknown_cost or self.beginning)

    def describe(self) -> list[str]:
        """Return the conditions as a list of texts, for the timeline."""
        words = [" or ".join(self.outcomes) or "all results"]
        if self.error_types:
            words.append(f"error type {' or '.join(kind or '-' for kind in self.error_types)}")
        if self.of_another_tier:
            words.append("of another tier")
        if self.of_unknown_cost:
            words.append("of unknown cost")
        if self.beginning:
            words.append(f"custom_id beginning with {self.beginning}")
        return words
