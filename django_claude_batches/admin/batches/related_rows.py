"""The last events, attempts and problem lines of a batch, for its page: one UNION instead of three querysets.

The page may make ten queries, and makes all ten for a user who is no superuser, in a process that has shown no page
before. Three querysets would be less code and take 4 ms of CPU instead of 8 (of 65 for the page), but make it twelve.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import BigIntegerField, F, Subquery, TextField, Value
from django.db.models.functions import Cast, Coalesce

from django_claude_batches.models import BatchEvent, MessageBatch, ResultProblem, SubmitAttempt

# Rows on the page: of the timeline, and of each other table.
MAX_EVENTS = 50
MAX_ROWS = 20

# Columns shown of each model: the number that orders the rows, a time, another number, and texts.
COLUMNS: dict[type[Any], tuple[str, str, str | None, tuple[str, ...]]] = {
    BatchEvent: ("pk", "at", None, ("by_name", "what", "text")),
    SubmitAttempt: ("number", "sent_at", "http_status", ("outcome", "remote_id", "api_request_id", "tag")),
    ResultProblem: ("number", "seen_at", "offset", ("reason", "excerpt")),
}

TEXTS = 4

# Greater than the number of any problem line.
BEYOND = 2**31


@dataclass(frozen=True, slots=True)
class RelatedRows:
    """Rows with only the columns that are shown; the newest events and attempts first."""

    events: list[BatchEvent]
    attempts: list[SubmitAttempt]
    # The first MAX_ROWS, and one more where there are more.
    problems: list[ResultProblem]


def related_rows(batch: MessageBatch) -> RelatedRows:
    """Return the rows that the page shows. Excerpts of problem lines may quote answers: check permissions."""
    db = batch._state.db
    events, attempts = batch.events.using(db).order_by("-pk"), batch.attempts.using(db).order_by("-number")
    problems = batch.problems.using(db).order_by("number")
    # SQLite takes no slices in a UNION: a subquery looks up where each of them ends.
    parts = [
        _alike(events.filter(pk__gte=_end(events, "pk", MAX_EVENTS, 0))),
        _alike(attempts.filter(number__gte=_end(attempts, "number", MAX_ROWS, 0))),
        _alike(problems.filter(number__lte=_end(problems, "number", MAX_ROWS + 1, BEYOND))),
    ]
    found: dict[str, list[Any]] = {model.__name__: [] for model in COLUMNS}
    for name, *values in parts[0].union(*parts[1:], all=True).order_by("first_number"):
        found[name].append(values)
    made = {model: [_made(model, values) for values in found[model.__name__]] for model in COLUMNS}
    return RelatedRows(made[BatchEvent][::-1], made[SubmitAttempt][::-1], made[ResultProblem][: MAX_ROWS + 1])


def _end(rows: Any, number: str, most: int, otherwise: int) -> Coalesce:
    """Return the number of the last of the first `most` rows, as an expression."""
    return Coalesce(Subquery(rows.values(number)[most - 1 : most]), otherwise)


def _alike(rows: Any) -> Any:
    """Return the rows with columns of the same types for each table, as a UNION requires."""
    number, at, other, texts = COLUMNS[rows.model]
    columns = {
        "of_model": Value(rows.model.__name__),
        "first_number": Cast(number, BigIntegerField()),
        "time": F(at),
        "other_number": Value(None, BigIntegerField()) if other is None else Cast(other, BigIntegerField()),
    }
    for index in range(TEXTS):
        text = texts[index] if index < len(texts) else Value("")
        columns[f"text_{index}"] = Cast(text, TextField())
    return rows.order_by().annotate(**columns).values_list(*columns)


def _made(model: type[Any], values: list[Any]) -> Any:
    number, at, other, texts = COLUMNS[model]
    named = {number: values[0], at: values[1], **dict(zip(texts, values[3:], strict=False))}
    return model(**named if other is None else {**named, other: values[2]})
