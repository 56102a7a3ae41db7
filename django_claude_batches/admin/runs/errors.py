"""The errors of a run by kind: outcome and type of error, each with the batches that have such rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django_claude_batches.admin.base.error_groups import error_groups
from django_claude_batches.models import MessageBatch

SUCCEEDED = "succeeded"
ERRORED = "errored"

MOST_KINDS = 20


@dataclass(slots=True)
class Kind:
    """Requests with one outcome and, if they errored, one type of error; `batches` has their numbers."""

    outcome: str
    error_type: str
    batches: Counter[int] = field(default_factory=Counter)

    @property
    def rows(self) -> int:
        return self.batches.total()


def kinds_of_failure(batches: Iterable[MessageBatch], outcomes: dict[int, Counter[str]]) -> list[Kind]:
    """Return the kinds, the most frequent first. `outcomes` are those of each delivered batch; no query."""
    found: dict[tuple[str, str], Kind] = {}
    for batch in batches:
        for outcome, error_type, count in _of(batch, outcomes.get(batch.pk, Counter())):
            kind = found.setdefault((outcome, error_type), Kind(outcome, error_type))
            kind.batches[batch.pk] += count
    return sorted(found.values(), key=lambda kind: (-kind.rows, kind.outcome, kind.error_type))[:MOST_KINDS]


def _of(batch: MessageBatch, outcomes: Counter[str]) -> Iterator[tuple[str, Any, int]]:
    """Yield outcome, type of error and number: errors as they were counted when the results were stored."""
    groups = error_groups(batch)
    for group in groups:
        yield ERRORED, group.error_type, group.rows
    for outcome, count in outcomes.items():
        if outcome != SUCCEEDED and not (outcome == ERRORED and groups):
            yield outcome, "", count
