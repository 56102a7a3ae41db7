"""A few results of a batch, each with its prompt."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from django.db.models import Case, F, JSONField, Q, TextField, When, Window
from django.db.models.functions import Cast, Length, RowNumber, Substr
from django.utils.text import Truncator

from django_claude_batches.models import BatchResult, MessageBatch
from django_claude_batches.models.outcomes import outcome_counts
from django_claude_batches.models.result import ResultType, ended_as

MOST_RESULTS = 5

# Of these, so many that failed, and so many answers that cannot be used: others are shown beside them.
MOST_UNUSABLE = 2

# Requests of which the results are looked at, from the first: so few that each database looks them up one by one.
MAX_LOOKED_AT = 200

# Failed results that are put in order to find the first; if there are more, some are among those that are looked at.
MAX_SORTED = 1_000

FAILED = (ResultType.ERRORED, ResultType.EXPIRED, ResultType.CANCELED)

# Characters shown of each text; the result's own page has the rest.
MOST_CHARACTERS = 2_000

# Characters fetched of each text: of a longer prompt only the beginning, of a longer answer nothing.
MOST_READ = 200_000


@dataclass(frozen=True, slots=True)
class Sample:
    result: BatchResult
    prompt: str
    answer: str
    is_long: bool


def samples(batch: MessageBatch) -> list[Sample]:
    """Return a few results: failed ones, answers that cannot be used, and others, each in the order of the requests.

    At most three queries, each of a few rows by an index.
    """
    rows: Any = batch.results.using(batch._state.db)
    pks = _chosen(batch, BatchResult.objects.using(batch._state.db)) or _of_elsewhere(rows)
    size = Length(Cast("message", TextField()))
    short = Case(When(size__lte=MOST_READ, then=F("message")), output_field=JSONField())
    asked = Substr("request__params_text", 1, MOST_READ)
    found = rows.annotate(size=size).annotate(short_message=short, asked=asked).defer("message", "output", "raw")
    by_pk = {row.pk: row for row in found.filter(pk__in=pks)} if pks else {}
    return [_sample(by_pk[pk]) for pk in pks if pk in by_pk]


def _chosen(batch: MessageBatch, results: Any) -> list[int]:
    """Return the primary keys of the results to show, in the order of the page."""
    groups = _first(results.filter(request__batch=batch.pk, request__position__lt=MAX_LOOKED_AT))
    failed = sum(each.count for each in outcome_counts(batch) if each.name in FAILED)
    if len(groups[0]) < min(failed, MOST_UNUSABLE) and failed <= MAX_SORTED:
        others = batch.results.using(results.db).filter(result_type__in=FAILED).order_by("request__position")
        groups[0] = list(others.values_list("pk", flat=True)[:MOST_RESULTS])
    chosen = [*groups[0][:MOST_UNUSABLE], *groups[1][:MOST_UNUSABLE], *groups[2]]
    rest = [*groups[0][MOST_UNUSABLE:], *groups[1][MOST_UNUSABLE:]]
    shown = {*[*chosen, *rest][:MOST_RESULTS]}
    return [pk for group in groups for pk in group if pk in shown]


def _first(results: Any) -> list[list[int]]:
    """Return the first primary keys of each group: failed results, answers that cannot be used, and others."""
    is_usable = Q(ended_as(""), output_error__isnull=True)
    group = Case(When(~Q(result_type=ResultType.SUCCEEDED), then=0), When(~is_usable, then=1), default=2)
    number = Window(RowNumber(), partition_by=F("group"), order_by="request__position")
    ranked = results.annotate(group=group).annotate(number=number).filter(number__lte=MOST_RESULTS)
    groups: list[list[int]] = [[], [], []]
    for place, pk in ranked.order_by("number").values_list("group", "pk"):
        groups[place].append(pk)
    return groups


def _of_elsewhere(rows: Any) -> list[int]:
    """Return the first results of a batch that was made elsewhere: they have no requests."""
    return list(rows.order_by("batch_id", "custom_id").values_list("pk", flat=True)[:MOST_RESULTS])


def _sample(row: Any) -> Sample:
    is_long = row.size is not None and row.short_message is None
    row.message = row.short_message
    answer = "" if is_long else row.text or row.error_message
    return Sample(row, _cut(prompt(row.asked or "")), _cut(answer), is_long)


def prompt(params: str) -> str:
    """Return the text of the last message; all of the params if there is none, or if they were cut."""
    try:
        messages = json.loads(params)["messages"]
        content = messages[-1]["content"]
        texts = [content] if isinstance(content, str) else [block["text"] for block in content if "text" in block]
    except (ValueError, LookupError, TypeError, RecursionError):
        return params
    return "\n".join(map(str, texts)) or params


def _cut(text: str) -> str:
    return Truncator(text).chars(MOST_CHARACTERS)
