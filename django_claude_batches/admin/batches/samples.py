"""A few results of a batch, each with its prompt."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from django.db.models import Case, F, JSONField, Q, TextField, When, Window
from django.db.models.functions import Cast, Length, RowNumber, Substr
from django.utils.text import Truncator

from django_claude_batches.models import BatchResult, MessageBatch
from django_claude_batches.models.result import ResultType, ended_as

MOST_RESULTS = 5

# Of these, so many that failed, and so many answers that cannot be used: others are shown beside them.
MOST_UNUSABLE = 2

# The last of the groups: failed results are 0, answers that cannot be used 1.
USABLE = 2

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

    Two queries: in one, a database may sort the long texts too.
    """
    rows: Any = batch.results.using(batch._state.db)
    pks = _chosen(rows)
    size = Length(Cast("message", TextField()))
    short = Case(When(size__lte=MOST_READ, then=F("message")), output_field=JSONField())
    asked = Substr("request__params_text", 1, MOST_READ)
    found = rows.annotate(size=size).annotate(short_message=short, asked=asked).defer("message", "output", "raw")
    by_pk = {row.pk: row for row in found.filter(pk__in=pks)} if pks else {}
    return [_sample(by_pk[pk]) for pk in pks if pk in by_pk]


def _chosen(rows: Any) -> list[int]:
    """Return the primary keys of the results to show."""
    is_usable = Q(ended_as(""), output_error__isnull=True)
    place = Case(When(~Q(result_type=ResultType.SUCCEEDED), then=0), When(~is_usable, then=1), default=USABLE)
    order = [F("request__position").asc(nulls_last=True), "custom_id"]
    ranked = rows.annotate(place=place).annotate(number=Window(RowNumber(), partition_by=F("place"), order_by=order))
    found = list(
        ranked.filter(number__lte=MOST_RESULTS).order_by("place", "number").values_list("pk", "place", "number")
    )
    unlike = [each for each in found if each[1] == USABLE or each[2] <= MOST_UNUSABLE]
    chosen = [*unlike, *(each for each in found if each not in unlike)][:MOST_RESULTS]
    return [pk for pk, _place, _number in sorted(chosen, key=found.index)]


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
