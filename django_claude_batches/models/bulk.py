"""Insert, read and delete requests and results in bounded chunks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from operator import attrgetter
from typing import Any, TypeVar

from django.db import DataError, IntegrityError, connections, models, transaction

from django_claude_batches.db import packet_limit, postgres_copy
from django_claude_batches.db.keyset import PAGE_ROWS, chunked, sized_pages
from django_claude_batches.db.postgres_copy import Table, Values
from django_claude_batches.drafting.body import BodySize
from django_claude_batches.drafting.request import Checked, Prepared
from django_claude_batches.exceptions import InvalidRequest, LimitExceeded
from django_claude_batches.models import bulk_rows
from django_claude_batches.models.request import BatchRequest
from django_claude_batches.models.result import BatchResult

# Bytes per write. MariaDB accepts 16 MB in a statement (`max_allowed_packet`). Quotes and backslashes are doubled in
# it, and other characters of a JSON column are escaped: a character of 4 bytes takes 14.
PACKET_BYTES = 4_000_000

# Rows that are decoded at a time: a `str` takes up to four times the bytes of its UTF-8.
ROWS_PER_EXECUTE = 500

# Errors that a database raises for a row that it will never accept.
ROW_ERRORS = (DataError, IntegrityError, ValueError)

T = TypeVar("T")


def insert(batch_id: int, requests: Iterable[Checked | Prepared], tally: BodySize, *, using: str) -> Iterator[int]:
    """Insert a new batch's requests as they are read; yield the number stored after each chunk of 1,000 rows or 4 MB.

    `requests` may query the database: it is read only between chunks. On PostgreSQL, requests are encoded while the
    server stores the rows before them.

    Raise InvalidRequest if a request cannot be encoded, and for a repeated custom_id, which the table's constraint
    finds. Raise LimitExceeded for more requests than a batch may hold, and for a row too large for the database.
    """
    if not postgres_copy.is_possible(using):
        requests = (request.encoded() for request in requests)
    stored = 0
    for chunk in chunked(requests, size=attrgetter("size"), max_size=PACKET_BYTES):
        values = (bulk_rows.request_values(batch_id, tally.add(request.encoded())) for request in chunk)
        repeated = None
        try:
            with transaction.atomic(using=using):
                _write(bulk_rows.REQUEST_TABLE, _check_sizes(values, chunk, using), using=using)
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


def obstacle(request: Prepared, *, using: str) -> str:
    """Return why the request is too large for one statement of the database; empty if it fits."""
    if request.size <= packet_limit.MIN_CHECKED_BYTES:
        return ""
    return packet_limit.obstacles([bulk_rows.request_values(0, request)], using=using).get(0, "")


def _check_sizes(values: Iterator[Values], chunk: list[Checked | Prepared], using: str) -> Iterator[Values]:
    """Return the values. Raise LimitExceeded for the first row that does not fit into one statement."""
    if connections[using].vendor != "mysql":
        return values
    made = list(values)
    for index, reason in packet_limit.obstacles(made, using=using).items():
        raise LimitExceeded(reason, position=chunk[index].position, custom_id=chunk[index].custom_id)
    return iter(made)


def _repeated(batch_id: int, chunk: list[Checked | Prepared], *, using: str) -> Checked | Prepared | None:
    """Return the first request whose custom_id is repeated, in the chunk or in the table."""
    ids = [request.custom_id for request in chunk]
    stored = BatchRequest.objects.using(using).filter(batch=batch_id, custom_id__in=ids)
    seen = set(stored.values_list("custom_id", flat=True))
    for request in chunk:
        if request.custom_id in seen:
            return request
        seen.add(request.custom_id)
    return None


class _ReplayableRows:
    """Rows that are built when they are first read, and kept: if the database refuses one, all are read again."""

    def __init__(self, rows: Iterator[Values]) -> None:
        self._rows = rows
        self._made: list[Values] = []
        # Whether the error came from building a row, not from writing it.
        self.is_broken = False

    def __iter__(self) -> Iterator[Values]:
        self.is_broken = True
        for row in self._rows:
            self._made.append(row)
            self.is_broken = False
            yield row
            self.is_broken = True
        self.is_broken = False

    def all(self) -> list[Values]:
        self._made.extend(self._rows)
        return self._made


def insert_results(results: Iterator[Values], *, using: str) -> dict[int, str]:
    """Insert results that are not stored yet; return the indexes of those that the database refused, and why.

    On PostgreSQL, results are built while the server stores those before them, so building them must not query the
    database. `ignore_conflicts` is not used: on MySQL it is INSERT IGNORE, which also truncates long values silently.
    """
    first = next(results, None)
    if first is None:
        return {}
    remembered = _ReplayableRows(chain([first], results))
    try:
        _insert_in_savepoint(remembered, using=using)
    except ROW_ERRORS:
        if remembered.is_broken:
            raise
    else:
        return {}
    return _insert_by_halves(list(enumerate(remembered.all())), using=using)


def _insert_by_halves(results: list[tuple[int, Values]], *, using: str) -> dict[int, str]:
    """Insert the rows that are accepted, by bisection: one bad row costs a dozen statements, not thousands."""
    try:
        _insert_in_savepoint([row for _index, row in results], using=using)
    except ROW_ERRORS as error:
        if len(results) == 1:
            return {results[0][0]: str(error)}
    else:
        return {}
    middle = len(results) // 2
    return _insert_by_halves(results[:middle], using=using) | _insert_by_halves(results[middle:], using=using)


def _insert_in_savepoint(results: Iterable[Values], *, using: str) -> None:
    with transaction.atomic(using=using):
        _write(bulk_rows.RESULT_TABLE, results, using=using)


def _write(table: Table, values: Iterable[Values], *, using: str) -> None:
    if postgres_copy.is_possible(using):
        postgres_copy.copy(table, values, using=using)
    else:
        _execute(table, iter(values), using=using)


def _execute(table: Table, values: Iterator[Values], *, using: str) -> None:
    connection = connections[using]
    is_sqlite = connection.vendor == "sqlite"
    quote = connection.ops.quote_name
    names = ", ".join(map(quote, table.columns))
    places = ["%s"] * len(table.columns)
    if is_sqlite and table.json_at is not None:
        places[table.json_at] = "CAST(%s AS TEXT)"  # stores the bytes as they are; a str would be encoded again
    # mysqlclient combines rows into INSERTs of 64 KB if the statement has this form; larger INSERTs gain nothing.
    insert = f"INSERT INTO {quote(table.model._meta.db_table)} ({names}) VALUES ({', '.join(places)})"  # noqa: S608
    with connection.cursor() as cursor:
        for rows in chunked(values, ROWS_PER_EXECUTE):
            plain: Any = rows if is_sqlite else [_decoded(row, table.json_at) for row in rows]
            for reason in packet_limit.obstacles(plain, using=using).values():
                raise DataError(reason)
            cursor.executemany(insert, plain)


def _decoded(row: Values, at: int | None) -> Values:
    if at is None or not isinstance(text := row[at], memoryview):
        return row
    return (*row[:at], str(text, "utf-8"), *row[at + 1 :])


def in_order(requests: models.QuerySet[BatchRequest, T]) -> Iterator[T]:
    """Yield requests of one batch, or values of them, by position, with at most 1,000 rows or 8 MB in memory."""
    for page in sized_pages(requests, "position", models.F("params_bytes")):
        yield from page


def delete_rows(child: type[models.Model], batch_id: int, *, using: str) -> int:
    """Delete a batch's rows of one table, 1,000 at a time, and return their number."""
    rows = child._default_manager.using(using).filter(batch=batch_id).order_by()
    deleted = 0
    while pks := list(rows.values_list("pk", flat=True)[:PAGE_ROWS]):
        deleted += child._default_manager.using(using).filter(pk__in=pks)._raw_delete(using)
    return deleted


COLUMNS = ("output", "output_error")


def write_outputs(results: Iterable[BatchResult], *, using: str) -> None:
    """Write `output` and `output_error` of these results, with one statement for each.

    `bulk_update` is not used: parsing its CASE for a thousand rows takes several times as long as executing it.
    """
    connection: Any = connections[using]
    quote = connection.ops.quote_name
    fields = [field for field in BatchResult._meta.concrete_fields if field.name in COLUMNS]
    changes = ", ".join(f"{quote(field.column)} = %s" for field in fields)
    statement = f"UPDATE {quote(BatchResult._meta.db_table)} SET {changes} WHERE {quote('id')} = %s"  # noqa: S608
    values = [
        (*(field.get_db_prep_save(getattr(result, field.name), connection) for field in fields), result.pk)
        for result in results
    ]
    if values:
        with connection.cursor() as cursor:
            cursor.executemany(statement, values)
