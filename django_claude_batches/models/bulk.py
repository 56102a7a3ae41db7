"""How many rows reach a table and are read back, a bounded number at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar, cast

from django.db import DataError, IntegrityError, connections, models, transaction

from django_claude_batches.exceptions import InvalidRequest, LimitExceeded
from django_claude_batches.models import copying, packets, rows
from django_claude_batches.models.drafting import Prepared
from django_claude_batches.models.request import BatchRequest
from django_claude_batches.models.rows import Table, Values

ROWS = 1000
"""Rows at a time: lists of 5,000 cost 70 MB more and are no faster (docs/performance.md)."""

PACKET_BYTES = 4_000_000
"""Bytes to write at a time. MariaDB takes 16 MB in a statement (`max_allowed_packet`), in which quotes and backslashes
are doubled and a JSON column's other characters are escapes: one of 4 bytes takes 14."""

BYTES = 8_000_000
"""Bytes of params at a time, so that large requests are read a few at a time."""

REFUSALS = (DataError, IntegrityError, ValueError)
"""What a database raises for a row that it will never take."""

T = TypeVar("T")

Plain = tuple[str | bytes | int | None, ...]

Encoded = list[bytes] | list[Plain]
"""Rows in the form in which a database takes them fastest: only ready ones enter a transaction."""


def insert(batch_id: int, requests: Iterable[Prepared], *, using: str) -> Iterator[int]:
    """Insert a new batch's requests as they come, and give the number stored so far after each 1,000 or 4 MB.

    Raise InvalidRequest for a custom_id that came before, which the table's own constraint finds, and LimitExceeded for
    a row that is too large for the database.
    """
    encode = encoder(using)
    stored = 0
    for chunk in _packets(requests):
        encoded = encode([rows.of_request(batch_id, request) for request in chunk])
        for index, reason in _obstacles(encoded, using=using).items():
            raise LimitExceeded(reason, position=chunk[index].position, custom_id=chunk[index].custom_id)
        repeated = None
        try:
            with transaction.atomic(using=using):
                _write(rows.REQUESTS, encoded, using=using)
        except IntegrityError:
            repeated = _repeated(batch_id, chunk, using=using)
            if repeated is None:
                raise
        if repeated is not None:
            raise InvalidRequest(
                "custom_id is used twice in this batch", position=repeated.position, custom_id=repeated.custom_id
            )
        stored += len(chunk)
        yield stored


def _packets(requests: Iterable[Prepared]) -> Iterator[list[Prepared]]:
    chunk: list[Prepared] = []
    size = 0
    for request in requests:
        if chunk and (len(chunk) == ROWS or size + request.params_bytes > PACKET_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(request)
        size += request.params_bytes
    if chunk:
        yield chunk


def _repeated(batch_id: int, chunk: list[Prepared], *, using: str) -> Prepared | None:
    """Give the first request whose custom_id came before, in the chunk or in the table."""
    ids = [request.custom_id for request in chunk]
    stored = BatchRequest.objects.using(using).filter(batch=batch_id, custom_id__in=ids)
    seen = set(stored.values_list("custom_id", flat=True))
    for request in chunk:
        if request.custom_id in seen:
            return request
        seen.add(request.custom_id)
    return None


def encoder(using: str) -> Callable[[list[Values]], Encoded]:
    """Give what encodes rows for this database; it may be called in another thread."""
    return copying.encode if copying.is_possible(using) else _plain


def _plain(values: list[Values]) -> list[Plain]:
    return [tuple([str(cell, "utf-8") if isinstance(cell, memoryview) else cell for cell in row]) for row in values]


def insert_results(encoded: Encoded, *, using: str) -> dict[int, str]:
    """Insert results that are not stored yet; give the indexes of those that the database refused, and why.

    Never `ignore_conflicts`: on MySQL it is INSERT IGNORE, which also cuts long values short in silence.
    """
    refused = _obstacles(encoded, using=using)
    try:
        if not refused:
            _insert_in_savepoint(encoded, using=using)
            return {}
    except REFUSALS:
        pass
    return _insert_one_by_one(encoded, refused, using=using)


def _insert_one_by_one(encoded: Encoded, refused: dict[int, str], *, using: str) -> dict[int, str]:
    for index in range(len(encoded)):
        if index in refused:
            continue
        try:
            _insert_in_savepoint(encoded[index : index + 1], using=using)
        except REFUSALS as error:
            refused[index] = str(error)
    return refused


def _obstacles(encoded: Encoded, *, using: str) -> dict[int, str]:
    return {} if copying.is_possible(using) else packets.obstacles(cast("list[Plain]", encoded), using=using)


def _insert_in_savepoint(encoded: Encoded, *, using: str) -> None:
    with transaction.atomic(using=using):
        _write(rows.RESULTS, encoded, using=using)


def _write(table: Table, encoded: Encoded, *, using: str) -> None:
    if not encoded:
        return
    if copying.is_possible(using):
        copying.copy(table, cast("list[bytes]", encoded), using=using)
        return
    quote = connections[using].ops.quote_name
    names, places = ", ".join(map(quote, table.columns)), ", ".join(["%s"] * len(table.columns))
    with connections[using].cursor() as cursor:
        # mysqlclient joins the rows into INSERTs of 64 KB, for which the statement must look like this.
        insert = f"INSERT INTO {quote(table.name)} ({names}) VALUES ({places})"  # noqa: S608
        cursor.executemany(insert, cast("list[Plain]", encoded))


def in_order(requests: models.QuerySet[BatchRequest, T]) -> Iterator[T]:
    """Give requests of one batch, or values of them, by position, at most 1,000 rows or 8 MB of params in memory.

    By keyset: `.iterator()` is not constant memory on every driver, and not at all without a transaction.
    """
    requests = requests.order_by("position")
    last = -1
    while sizes := list(requests.filter(position__gt=last).values_list("position", "params_bytes")[:ROWS]):
        first, last = last, _last_that_fits(sizes)
        yield from requests.filter(position__gt=first, position__lte=last)


def _last_that_fits(sizes: list[tuple[int, int]]) -> int:
    total = 0
    fitting = sizes[0][0]
    for position, size in sizes:
        total += size
        if total > BYTES:
            break
        fitting = position
    return fitting


def delete_rows(child: type[models.Model], batch_id: int, *, using: str) -> int:
    """Delete a batch's rows of one table, a thousand at a time, and give their number."""
    rows = child._default_manager.using(using).filter(batch=batch_id).order_by("pk")
    deleted = 0
    while pks := list(rows.values_list("pk", flat=True)[:ROWS]):
        deleted += child._default_manager.using(using).filter(pk__in=pks)._raw_delete(using)
    return deleted
