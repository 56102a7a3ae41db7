"""Emptying the large columns of a batch's rows, a bounded number at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Case, F, Func, Max, Min, Q, Value, When
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce
from django.db.models.sql.compiler import SQLCompiler

from django_claude_batches.models.pieces import BYTES, ROWS
from django_claude_batches.models.request import BatchRequest
from django_claude_batches.models.result import BatchResult, ResultProblem

Span = tuple[int, int]
"""A first and a last primary key."""


class StoredBytes(Func):
    """About how large a value is as it is stored; zero for none. PostgreSQL knows it without reading the value."""

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
class Bodies:
    """The large columns of one table: which rows have something in them, how much, and what stands there after."""

    model: type[models.Model]
    full: Q
    size: Combinable
    empty: dict[str, Any]

    def spans(self, batch_id: int, *, using: str) -> Iterator[Span]:
        """Give the rows of a batch that have something, at most 1,000 and about 8 MB at a time.

        By ranges of the primary key, each of which is one look at its index, whatever other batches the table has.
        """
        rows = self.model._default_manager.using(using).filter(batch=batch_id).order_by()
        # Plain Min(pk) has PostgreSQL walk the primary key from its beginning, past all other batches' rows.
        ends = rows.aggregate(first=Min(F("pk") + 0), last=Max(F("pk") + 0))
        if ends["first"] is None:
            return
        for start in range(ends["first"], ends["last"] + 1, ROWS):
            window = rows.filter(self.full, pk__gte=start, pk__lt=start + ROWS).order_by("pk")
            yield from _pieces(list(window.values_list("pk", self.size)))

    def clear(self, batch_id: int, span: Span, *, using: str) -> int:
        """Empty a span, and give the number of rows that had something."""
        rows = self.model._default_manager.using(using).filter(self.full, batch=batch_id, pk__range=span)
        return rows.update(**self.empty)


def _pieces(sizes: list[tuple[int, int]]) -> Iterator[Span]:
    first = last = None
    total = 0
    for pk, size in sizes:
        if first is not None and last is not None and total + size > BYTES:
            yield first, last
            first, total = None, 0
        first, last = first or pk, pk
        total += size
    if first is not None and last is not None:
        yield first, last


PARAMS = Bodies(BatchRequest, full=~Q(params_text=""), size=F("params_bytes"), empty={"params_text": ""})
MESSAGES = Bodies(
    BatchResult,
    full=Q(message__isnull=False) | Q(output__isnull=False) | Q(output_error__gt="") | Q(raw__isnull=False),
    size=_size("message", "output", "output_error", "raw"),
    # What is wrong with an answer tells of it. That something was stays: it is no success without it.
    empty={
        "message": None,
        "output": None,
        "output_error": Case(When(output_error__isnull=False, then=Value(""))),
        "raw": None,
    },
)
EXCERPTS = Bodies(ResultProblem, full=~Q(excerpt=""), size=_size("excerpt"), empty={"excerpt": ""})
"""An excerpt is a piece of an answer."""
