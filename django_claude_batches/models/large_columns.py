"""Empty the large columns of a batch's rows in bounded chunks, and the texts that may quote them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Case, F, Func, Max, Min, Q, Value, When
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce
from django.db.models.sql.compiler import SQLCompiler

from django_claude_batches.db.keyset import PAGE_ROWS, chunked
from django_claude_batches.models.attempt import SubmitAttempt
from django_claude_batches.models.batch.batch import MessageBatch
from django_claude_batches.models.event import EVENTS_WITHOUT_QUOTES, BatchEvent
from django_claude_batches.models.request import BatchRequest
from django_claude_batches.models.result import BatchResult, ResultProblem
from django_claude_batches.models.run import JobRunQuerySet

# The first and the last primary key of a range.
KeyRange = tuple[int, int]


class StoredBytes(Func):
    """The approximate stored size of a value, in bytes. PostgreSQL returns it without reading the value."""

    function = "LENGTH"
    output_field = models.BigIntegerField()

    def as_postgresql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> tuple[str, Any]:
        return super().as_sql(compiler, connection, function="pg_column_size", **context)


def _size(*columns: str) -> Combinable:
    total: Combinable = Value(0)
    for column in columns:
        total += Coalesce(StoredBytes(column), 0)
    return total


@dataclass(frozen=True)
class LargeColumns:
    """The large columns of one table: which rows have a value, its size, and what replaces it."""

    model: type[models.Model]
    full: Q
    size: Combinable
    empty: dict[str, Any]

    def key_ranges(self, batch_id: int, *, using: str) -> Iterator[KeyRange]:
        """Yield key ranges of a batch's rows that have a value, at most 1,000 rows and about 8 MB at a time.

        Each range of the primary key is one index lookup, whatever other batches the table has.
        """
        rows = self.model._default_manager.using(using).filter(batch=batch_id).order_by()
        # Plain Min(pk) makes PostgreSQL walk the primary key from its beginning, past all other batches' rows.
        ends = rows.aggregate(first=Min(F("pk") + 0), last=Max(F("pk") + 0))
        if ends["first"] is None:
            return
        for start in range(ends["first"], ends["last"] + 1, PAGE_ROWS):
            window = rows.filter(self.full, pk__gte=start, pk__lt=start + PAGE_ROWS).order_by("pk")
            for sizes in chunked(window.values_list("pk", self.size), size=itemgetter(1)):
                yield sizes[0][0], sizes[-1][0]

    def clear(self, batch_id: int, span: KeyRange, *, using: str) -> int:
        """Empty the columns of a key range, and return the number of rows that had a value."""
        rows = self.model._default_manager.using(using).filter(self.full, batch=batch_id, pk__range=span)
        return rows.update(**self.empty)


PARAMS = LargeColumns(
    BatchRequest,
    full=~Q(params_text="") | Q(cells_text__isnull=False),
    size=F("params_bytes") + _size("cells_text"),
    empty={"params_text": "", "cells_text": None},
)
MESSAGES = LargeColumns(
    BatchResult,
    full=Q(message__isnull=False)
    | Q(output__isnull=False)
    | Q(output_error__gt="")
    | Q(raw__isnull=False)
    | Q(error_message__gt=""),
    size=_size("message", "output", "output_error", "raw", "error_message"),
    # A validation error may quote the answer. It becomes an empty text: with null, the answer would count as a success.
    empty={
        "message": None,
        "output": None,
        "output_error": Case(When(output_error__isnull=False, then=Value(""))),
        "raw": None,
        # The API's message about a request may quote it. The error's type and request id stay.
        "error_message": "",
    },
)
# An excerpt is part of an answer; a reason may be a message of the database, and PostgreSQL quotes the row in it.
EXCERPTS = LargeColumns(
    ResultProblem,
    full=~Q(excerpt="") | ~Q(reason=""),
    size=_size("excerpt", "reason"),
    empty={"excerpt": "", "reason": ""},
)

# Replaces an error text if it matters that there was an error.
REMOVED_TEXT = "The message was removed: it may have quoted a request or an answer."


def text_removed(column: str, *, unless: Q | None = None) -> Case:
    """Return an expression that replaces a column's text, unless it is empty or the row matches `unless`."""
    kept = Q(**{column: ""}) if unless is None else Q(**{column: ""}) | unless
    return Case(When(kept, then=F(column)), default=Value(REMOVED_TEXT), output_field=models.TextField())


# Matches runs with a pause reason or an error that was not replaced yet.
HAS_ERROR_TEXT = ~Q(pause_reason__in=["", REMOVED_TEXT]) | ~Q(last_error__in=["", REMOVED_TEXT])


def clear_run_texts(runs: JobRunQuerySet) -> None:
    """Replace the pause reasons and the errors of these runs, which still show as paused or failed."""
    said = runs.filter(HAS_ERROR_TEXT)
    said.update(pause_reason=text_removed("pause_reason"), last_error=text_removed("last_error"))


def clear_error_texts(batch_id: int, *, using: str) -> None:
    """Empty the texts of a batch's errors, timeline and create calls.

    Errors of receivers, handlers, the API and the database may quote a request or an answer. The numbers and causes of
    missing results are kept. Call it inside a transaction, under the batch's lease.
    """
    batches = MessageBatch.objects.using(using).filter(pk=batch_id).exclude(last_error="")
    batches.update(last_error=text_removed("last_error", unless=Q(last_error=F("missing_reason"))))
    said = BatchEvent.objects.using(using).filter(batch=batch_id).exclude(what__in=EVENTS_WITHOUT_QUOTES)
    said.exclude(text="").update(text="")
    for attempt in SubmitAttempt.objects.using(using).filter(batch=batch_id):
        if any(candidate.get("why") for candidate in attempt.candidates):
            attempt.candidates = [{**candidate, "why": ""} for candidate in attempt.candidates]
            attempt.save(using=using, update_fields=["candidates"])
