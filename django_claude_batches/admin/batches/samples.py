"""A few results of a batch, each with its prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Case, F, JSONField, Q, TextField, When, Window
from django.db.models.functions import Cast, Length, RowNumber, Substr
from django.utils.text import Truncator

from django_claude_batches.admin.base.question import prompt
from django_claude_batches.models import BatchResult, MessageBatch
from django_claude_batches.models.batch.outcomes import LABELS, outcome_counts
from django_claude_batches.models.result import ResultType, ended_as

MAX_RESULTS = 5

# Failed results, and unusable answers, among these, so that others are shown beside them.
MAX_UNUSABLE = 2

# The first requests, whose results are read: few enough that each database looks them up by an index.
MAX_LOOKED_AT = 200

# Failed results that are sorted to find the first of them. If there are more, the first requests have some.
MAX_SORTED = 1_000

FAILED = (ResultType.ERRORED, ResultType.EXPIRED, ResultType.CANCELED)

# Characters shown of each text; the result's own page has the rest.
MAX_CHARACTERS = 2_000

# Characters fetched of each text: of a longer prompt only the beginning, of a longer answer nothing.
MAX_READ = 200_000


@dataclass(frozen=True, slots=True)
class Sample:
    result: BatchResult
    prompt: str
    answer: str
    is_long: bool

    @property
    def outcome(self) -> Any:
        outcome = self.result.outcome
        return LABELS.get(outcome, outcome)


def samples(batch: MessageBatch) -> list[Sample]:
    """Return a few results: failed ones, answers that cannot be used, and others, each in the order of the requests.

    One query of a few rows by indexes. A second query if failed results come after the first requests, or if the batch
    was made elsewhere and has no requests.
    """
    results: Any = BatchResult.objects.using(batch._state.db)
    first = _ranked(results.filter(request__batch=batch.pk, request__position__lt=MAX_LOOKED_AT))
    found = _read(results.filter(pk__in=first.values("pk")))
    if sum(row.group == 0 for row in found) < min(_stored_failures(batch), MAX_UNUSABLE):
        behind = _ranked(batch.results.using(results.db).filter(result_type__in=FAILED))
        found = _read(results.filter(pk__in=behind.values("pk"))) + [row for row in found if row.group]
    if not found and batch.run_id is None:
        found = _read(batch.results.using(results.db).order_by("batch_id", "custom_id")[:MAX_RESULTS])
    return [_sample(row) for row in _chosen(found)]


def _stored_failures(batch: MessageBatch) -> int:
    """Return how many results failed; 0 if that is not known, or if they are too many to be sorted."""
    failed = sum(each.count for each in outcome_counts(batch) if each.name in FAILED)
    return 0 if batch.result_counts is None or failed > MAX_SORTED else failed


def _ranked(results: Any) -> Any:
    """Match the first results of each group, by the position of their requests."""
    number = Window(RowNumber(), partition_by=F("group"), order_by="request__position")
    return results.annotate(group=_group()).annotate(number=number).filter(number__lte=MAX_RESULTS)


def _group() -> Case:
    """Return 0 for failed results, 1 for answers that cannot be used, and 2 for others, as an expression."""
    is_usable = Q(ended_as(""), output_error__isnull=True)
    return Case(When(~Q(result_type=ResultType.SUCCEEDED), then=0), When(~is_usable, then=1), default=2)


def _read(results: Any) -> list[Any]:
    size = Length(Cast("message", TextField()))
    short = Case(When(size__lte=MAX_READ, then=F("message")), output_field=JSONField())
    asked = Substr("request__params_text", 1, MAX_READ)
    rows = results.annotate(size=size, group=_group(), position=F("request__position"))
    return list(rows.annotate(short_message=short, asked=asked).defer("message", "output", "raw"))


def _chosen(found: list[Any]) -> list[Any]:
    """Return a few results of each group, and more of one group if the others have too few."""
    ordered = sorted(found, key=lambda row: (row.group, row.position or 0, row.custom_id))
    groups = [[row for row in ordered if row.group == group] for group in range(3)]
    few = [*groups[0][:MAX_UNUSABLE], *groups[1][:MAX_UNUSABLE], *groups[2]]
    shown = [*few, *(row for row in ordered if row not in few)][:MAX_RESULTS]
    return [row for row in ordered if row in shown]


def _sample(row: Any) -> Sample:
    is_long = row.size is not None and row.short_message is None
    row.message = row.short_message
    answer = "" if is_long else row.text or row.error_message
    return Sample(row, _cut(prompt(row.asked or "")), _cut(answer), is_long)


def _cut(text: str) -> str:
    return Truncator(text).chars(MAX_CHARACTERS)
