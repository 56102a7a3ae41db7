"""Bulk inserts by PostgreSQL's COPY: rows are built while the server stores the rows before them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from django.db import connections, models

# A text may be a view of its UTF-8, such as JSON in a line: that saves a copy. Bytes are for binary columns.
Value = str | memoryview | bytes | int | Decimal | None

Values = tuple[Value, ...]


class Table(NamedTuple):
    """A model's table, and the columns that are written. The other columns are null."""

    model: type[models.Model]
    columns: tuple[str, ...]

    @property
    def fields(self) -> list[models.Field[Any, Any]]:
        of_column = {field.column: field for field in self.model._meta.concrete_fields}
        return [of_column[column] for column in self.columns]

    @property
    def json_at(self) -> int | None:
        """Return the index of the JSON column, whose value may be a view of bytes; None if there is none."""
        return next((at for at, field in enumerate(self.fields) if isinstance(field, models.JSONField)), None)


# Prefix of a jsonb value's text in binary format (`jsonb_recv`).
JSONB_VERSION = b"\x01"


def is_possible(using: str) -> bool:
    """Return whether this is PostgreSQL with psycopg 3. The COPY of psycopg 2 differs, so INSERT is used with it."""
    connection: Any = connections[using]
    return bool(connection.vendor == "postgresql" and connection.Database.__version__.startswith("3"))


def copy(table: Table, rows: Iterable[Values], *, using: str) -> None:
    """Append the rows to the table, all or none.

    The rows are built while the server stores the rows before them, which takes no extra time. Building a row must not
    use this database connection: a query would block forever.

    There is no staging table, because the caller writes only rows that do not exist yet, under a lease or in a new
    batch.
    """
    connection: Any = connections[using]
    names = ", ".join(map(connection.ops.quote_name, table.columns))
    into = f"COPY {connection.ops.quote_name(table.model._meta.db_table)} ({names}) FROM STDIN"
    json_at = table.json_at
    # Without a JSON column, use the text format: with the binary format, PostgreSQL 15 collects 1,000 rows before it
    # stores any, which delays small chunks. With one, use the binary format: the JSON is sent as its bytes, without
    # escaping and unescaping.
    if json_at is not None:
        into, rows = f"{into} (FORMAT BINARY)", _with_version(rows, json_at)
    with connection.cursor() as cursor, connection.wrap_database_errors, cursor.cursor.copy(into) as pipe:
        if json_at is not None:
            pipe.set_types(_types(table, using))
        for row in rows:
            pipe.write_row(row)


@lru_cache
def _types(table: Table, using: str) -> list[str]:
    """Return the columns' types without lengths. A jsonb is sent as bytea: psycopg would encode a text again."""
    types = [str(field.db_type(connections[using])).partition("(")[0] for field in table.fields]
    return ["bytea" if name == "jsonb" else name for name in types]


def _with_version(rows: Iterable[Values], json_at: int) -> Iterator[Any]:
    for row in rows:
        cells: list[Any] = list(row)
        if (text := cells[json_at]) is not None:
            cells[json_at] = JSONB_VERSION + (text.encode() if isinstance(text, str) else text)
        yield cells
