"""Leases: exclusive, timed holds on a row. The row stores a token and the expiry, by the database's clock.

A conditional UPDATE acquires a lease. This needs no lock, and works the same on SQLite, PostgreSQL and MariaDB.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Self, TypeVar

from asgiref.sync import sync_to_async
from django.db import models, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import ExpressionWrapper, Func, Q, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Now
from django.db.models.sql.compiler import SQLCompiler

from django_claude_batches.db.keyset import chunked, pages

_M_co = TypeVar("_M_co", bound=models.Model, covariant=True)

LEASE = timedelta(minutes=5)

CHUNK_SIZE = 2000  # Django's default for `iterator()`

# Maximum primary keys that one query reads or has as parameters. Databases limit the parameters of a query: SQLite to
# 32,766, PostgreSQL with server-side binding to 65,535.
MAX_KEYS = 10_000


class DatabaseNow(Now):
    """The database's time in UTC, at the start of the statement.

    On MySQL and MariaDB, Django's `Now()` returns the local time of the session, for which Django sets no time zone:
    with `default-time-zone = -05:00`, due rows would not be found for five hours.
    """

    def as_mysql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> tuple[str, Any]:
        return Func.as_sql(self, compiler, connection, template="UTC_TIMESTAMP(6)", **context)


def now_plus(delay: timedelta) -> Combinable:
    """Return the database's time plus `delay`, as an expression for an UPDATE or a filter."""
    return ExpressionWrapper(DatabaseNow() + Value(delay), output_field=models.DateTimeField())


def is_free() -> Q:
    """Match rows without a valid lease."""
    return Q(lease_until__isnull=True) | Q(lease_until__lt=DatabaseNow())


class PrimaryQuerySet(models.QuerySet[_M_co]):
    """A queryset that can read from the primary database, because decisions must not depend on a lagging replica."""

    def primary(self) -> Self:
        """Use the database that is written to."""
        return self.using(router.db_for_write(self.model))

    def of_accounts(self, aliases: Collection[str] | None, path: str = "account") -> Self:
        """Match the rows of these accounts, or all rows if None. `path` is the lookup of the account's alias."""
        return self if aliases is None else self.filter(**{f"{path}__in": aliases})

    def iterator(self, chunk_size: int | None = None) -> Iterator[Any]:
        """Yield the rows, `chunk_size` (2,000; at most 10,000) at a time, without a server-side cursor.

        Behind a transaction pooler, such a cursor returns rows of other processes' queries. Instead, the primary keys
        are read first, and then each chunk of rows with one query, and its prefetches. Slices, groups, distinct rows
        and combined querysets are read all at once.
        """
        if chunk_size is not None and chunk_size <= 0:
            raise ValueError("Chunk size must be strictly positive.")
        query = self.query
        if query.is_sliced or query.combinator or query.distinct or isinstance(query.group_by, tuple):
            return iter(self.all())
        return self._in_chunks(min(chunk_size or CHUNK_SIZE, MAX_KEYS))

    async def aiterator(self, chunk_size: int = CHUNK_SIZE) -> AsyncIterator[Any]:
        chunks = chunked(self.iterator(chunk_size), chunk_size)
        while chunk := await sync_to_async(lambda: next(chunks, None))():
            for row in chunk:
                yield row

    def _in_chunks(self, size: int) -> Iterator[Any]:
        rows, pages_of_keys = self._by_keys()
        for page in pages_of_keys:
            for keys in chunked(dict.fromkeys(page), size):  # a join may return a row several times
                yield from rows.filter(pk__in=keys)

    def _by_keys(self) -> tuple[Self, Iterable[Iterable[Any]]]:
        """Return the ordered rows, and their primary keys: in pages if ordered by key, otherwise all at once."""
        is_by_key = tuple(self.query.order_by) in {("pk",), (self.model._meta.pk.name,)}
        if self.ordered and not (is_by_key and self.query.standard_ordering):
            return self, [self.values_list("pk", flat=True)]
        rows = self.order_by("pk")
        rows.query.standard_ordering = True  # rows without an order may be reversed
        return rows, ((pk for (pk,) in page) for page in pages(rows, "pk", size=MAX_KEYS))


class LeasedQuerySet(PrimaryQuerySet[_M_co]):
    """A queryset of rows with a lease."""

    def acquire(self, pk: int, ttl: timedelta = LEASE, **changes: Any) -> str | None:
        """Lease the row for `ttl`, and make these changes, if it matches this queryset and is free.

        Return the token of the lease, or None if the row could not be leased.
        """
        token = secrets.token_hex(16)
        taken = self.filter(is_free(), pk=pk).update(lease_token=token, lease_until=now_plus(ttl), **changes)
        return token if taken else None

    @contextmanager
    def lease(self, pk: int, ttl: timedelta = LEASE, **changes: Any) -> Iterator[str | None]:
        """Acquire a lease and release it at the end of the block. Yield the token, or None as `acquire` does."""
        token = self.acquire(pk, ttl, **changes)
        try:
            yield token
        finally:
            if token is not None:
                rows: Any = self.model._default_manager.using(self.db)  # not `self`, which may no longer match the row
                rows.release(pk, token)

    def leased_by(self, pk: int, token: str) -> Self:
        """Match the row while this lease is valid, so that a process whose lease expired does not change it."""
        return self.filter(pk=pk, lease_token=token, lease_until__gte=DatabaseNow())

    def renew(self, pk: int, token: str, ttl: timedelta = LEASE) -> bool:
        """Extend the lease, and return whether it is still valid. If not, stop: another process may have the row.

        Inside a transaction this also locks the row.
        """
        return bool(self.leased_by(pk, token).update(lease_until=now_plus(ttl)))

    def release(self, pk: int, token: str) -> None:
        self.filter(pk=pk, lease_token=token).update(lease_token="", lease_until=None)

    def leased(self) -> Self:
        return self.filter(lease_until__gte=DatabaseNow())


class Leased(models.Model):
    lease_token = models.CharField(max_length=32, blank=True, default="", editable=False)
    lease_until = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        abstract = True
