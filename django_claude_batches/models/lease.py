"""Who works on a row: a token and the time until which it holds, in the row itself, on the database's clock.

A conditional UPDATE is the claim. It needs no lock and works the same on SQLite, PostgreSQL and MariaDB, where
`select_for_update(skip_locked=True)` raises on the first.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from itertools import islice
from typing import Any, Self, TypeVar

from asgiref.sync import sync_to_async
from django.db import models, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import ExpressionWrapper, Func, Q, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Now
from django.db.models.sql.compiler import SQLCompiler

from django_claude_batches.models.pieces import pages

_M_co = TypeVar("_M_co", bound=models.Model, covariant=True)

LEASE = timedelta(minutes=5)

CHUNK_SIZE = 2000
"""Django's own, of `iterator()`."""

KEYS = 10_000
"""Primary keys that are read at a time."""


class DatabaseNow(Now):
    """The database's clock in UTC, at the start of the statement.

    Django's `Now()` is the session's local time on MySQL and MariaDB, and Django sets no time zone for the session:
    with `default-time-zone = -05:00`, rows that were due were not found for five hours.
    """

    def as_mysql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> tuple[str, Any]:
        return Func.as_sql(self, compiler, connection, template="UTC_TIMESTAMP(6)", **context)


def after(delay: timedelta) -> Combinable:
    """Give the database's time plus `delay`, as an expression for an UPDATE or a filter."""
    return ExpressionWrapper(DatabaseNow() + Value(delay), output_field=models.DateTimeField())


def is_free() -> Q:
    """Match rows on which nobody works."""
    return Q(lease_until__isnull=True) | Q(lease_until__lt=DatabaseNow())


class PrimaryQuerySet(models.QuerySet[_M_co]):
    """A queryset that can say: the database that we write to. What decides must not read from a lagging replica."""

    def primary(self) -> Self:
        return self.using(router.db_for_write(self.model))

    def iterator(self, chunk_size: int | None = None) -> Iterator[Any]:
        """Read the rows `chunk_size` (2,000) at a time, as Django's does, but without a cursor at the server.

        Behind a transaction pooler such a cursor returns the rows of other processes' queries. Here the primary keys
        come first, and each chunk of rows is a query of its own, which prefetches too. Slices, groups, distinct rows and
        combined querysets have no keys to go by: they are read at once.
        """
        if chunk_size is not None and chunk_size <= 0:
            raise ValueError("Chunk size must be strictly positive.")
        query = self.query
        if query.is_sliced or query.combinator or query.distinct or isinstance(query.group_by, tuple):
            return iter(self.all())
        return self._in_chunks(chunk_size or CHUNK_SIZE)

    async def aiterator(self, chunk_size: int = CHUNK_SIZE) -> AsyncIterator[Any]:
        rows = self.iterator(chunk_size)
        while chunk := await sync_to_async(lambda: list(islice(rows, chunk_size)))():
            for row in chunk:
                yield row

    def _in_chunks(self, size: int) -> Iterator[Any]:
        for keys in self._keys():
            for start in range(0, len(keys), size):
                chunk = keys[start : start + size]
                # The range is what an index is asked for, of rows that were just written too; see `retrying`.
                yield from self.filter(pk__range=(min(chunk), max(chunk)), pk__in=chunk)

    def _keys(self) -> Iterator[list[Any]]:
        """Give the primary keys in this queryset's order: a page of them at a time in their own, else all at once."""
        if self.ordered and tuple(self.query.order_by) not in {("pk",), (self.model._meta.pk.name,)}:
            yield list(dict.fromkeys(self.values_list("pk", flat=True)))
            return
        rows = self.order_by("pk")
        rows.query.standard_ordering = True  # an unordered queryset may be reversed
        for page in pages(rows, "pk", size=KEYS):
            yield list(dict.fromkeys(pk for (pk,) in page))


class LeasedQuerySet(PrimaryQuerySet[_M_co]):
    """Rows that one process at a time works on."""

    def claim(self, pk: int, ttl: timedelta = LEASE, **changes: Any) -> str | None:
        """Take the row for `ttl`, with these changes, if it is in this queryset and free; give the token, or None."""
        token = secrets.token_hex(16)
        taken = self.filter(is_free(), pk=pk).update(lease_token=token, lease_until=after(ttl), **changes)
        return token if taken else None

    def held(self, pk: int, token: str) -> Self:
        """Match the row while we hold it: what is written through this filter cannot come from a late process."""
        return self.filter(pk=pk, lease_token=token, lease_until__gte=DatabaseNow())

    def renew(self, pk: int, token: str, ttl: timedelta = LEASE) -> bool:
        """Prolong our hold; False: somebody else may have the row, so stop. Inside a transaction it locks the row."""
        return bool(self.held(pk, token).update(lease_until=after(ttl)))

    def release(self, pk: int, token: str) -> None:
        self.filter(pk=pk, lease_token=token).update(lease_token="", lease_until=None)

    def leased(self) -> Self:
        return self.filter(lease_until__gte=DatabaseNow())


class Leased(models.Model):
    lease_token = models.CharField(max_length=32, blank=True, default="", editable=False)
    lease_until = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        abstract = True


def is_due() -> Q:
    """Match rows whose time has come and on which nobody works."""
    return is_free() & Q(next_action_at__lte=DatabaseNow())
