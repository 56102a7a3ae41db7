"""The small tables of a batch's page in one query: its timeline, its attempts, and the lines that became no rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import BigIntegerField, F, Subquery, TextField, Value
from django.db.models.functions import Cast, Coalesce

from django_claude_batches.models import BatchEvent, MessageBatch, ResultProblem, SubmitAttempt

# Rows on the page: of the timeline, and of each other table.
MOST_EVENTS = 50
MOST_ROWS = 20

# Columns shown of each model: the number that orders the rows, a time, another number, and texts.
COLUMNS: dict[type[Any], tuple[str, str, str | None, tuple[str, ...]]] = {
    BatchEvent: ("pk", "at", None, ("by_name", "what", "text")),
    SubmitAttempt: ("number", "sent_at", "http_status", ("outcome", "remote_id", "api_request_id", "tag")),
    ResultProblem: ("number", "seen_at", "offset", ("reason", "excerpt")),
}

TEXTS = 4

# Greater than the number of any line.
BEYOND = 2**31


@dataclass(frozen=True, slots=True)
class SmallTables:
    """Rows with only the columns that are shown, the last events and attempts first."""

    events: list[BatchEvent]
    attempts: list[SubmitAttempt]
    # The first ones; one more than the page shows if there are more.
    problems: list[ResultProblem]


def small_tables(batch: MessageBatch) -> SmallTables:
    """Give what the page shows of them; the problem lines too, whose excerpts are pieces of answers."""
    db = batch._state.db
    events, attempts = batch.events.using(db).order_by("-pk"), batch.attempts.using(db).order_by("-number")
    problems = batch.problems.using(db).order_by("number")
    # A UNION of slices is not for SQLite: where each ends is looked up instead.
    parts = [
        _alike(events.filter(pk__gte=_end(events, "pk", MOST_EVENTS, 0))),
        _alike(attempts.filter(number__gte=_end(attempts, "number", MOST_ROWS, 0))),
        _alike(problems.filter(number__lte=_end(problems, "number", MOST_ROWS + 1, BEYOND))),
    ]
    found: dict[str, list[Any]] = {model.__name__: [] for model in COLUMNS}
    for name, *values in parts[0].union(*parts[1:], all=True).order_by("first_number"):
        found[name].append(values)
    made = {model: [_made(model, values) for values in found[model.__name__]] for model in COLUMNS}
    return SmallTables(made[BatchEvent][::-1], made[SubmitAttempt][::-1], made[ResultProblem][: MOST_ROWS + 1])


def _end(rows: Any, number: str, most: int, otherwise: int) -> Coalesce:
    """Give the number of the last of the first `most` rows, as an expression."""
    return Coalesce(Subquery(rows.values(number)[most - 1 : most]), otherwise)


def _alike(rows: Any) -> Any:
    """Give the rows with columns of the same types for each table: that is what a UNION takes."""
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
