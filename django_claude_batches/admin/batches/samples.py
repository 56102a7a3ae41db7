"""A few results of a batch, each with its prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Case, F, JSONField, TextField, When
from django.db.models.functions import Cast, Length, Substr
from django.utils.text import Truncator

from django_claude_batches.admin.results.question import prompt
from django_claude_batches.models import BatchResult, MessageBatch

MOST_RESULTS = 5

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
    """Return the first results by custom_id; one query, ordered by an index."""
    rows: Any = batch.results.using(batch._state.db).order_by("batch_id", "custom_id")
    size = Length(Cast("message", TextField()))
    short = Case(When(size__lte=MOST_READ, then=F("message")), output_field=JSONField())
    asked = Substr("request__params_text", 1, MOST_READ)
    found = rows.annotate(size=size).annotate(short_message=short, asked=asked).defer("message", "output", "raw")
    return [_sample(row) for row in found[:MOST_RESULTS]]


def _sample(row: Any) -> Sample:
    is_long = row.size is not None and row.short_message is None
    row.message = row.short_message
    answer = "" if is_long else row.text or row.error_message
    return Sample(row, _cut(prompt(row.asked or "")), _cut(answer), is_long)


def _cut(text: str) -> str:
    return Truncator(text).chars(MOST_CHARACTERS)
