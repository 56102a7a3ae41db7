"""PostgreSQL's COPY: many rows in one statement, made while the server stores those before them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from django.db import connections, models

Value = str | memoryview | bytes | int | Decimal | None
"""Text may be a view of its UTF-8, as JSON in a line is: it is copied once less. Bytes are for a column of bytes."""

Values = tuple[Value, ...]


class Table(NamedTuple):
    """A model's table, and its columns that are written; the others are null."""

    model: type[models.Model]
    columns: tuple[str, ...]

    @property
    def fields(self) -> list[models.Field[Any, Any]]:
        of_column = {field.column: field for field in self.model._meta.concrete_fields}
        return [of_column[column] for column in self.columns]

    @property
    def json_at(self) -> int | None:
        """Where its JSON is, which may be a view of bytes."""
        return next((at for at, field in enumerate(self.fields) if isinstance(field, models.JSONField)), None)


JSONB_VERSION = b"\x01"
"""What stands before the text of a jsonb in binary form (`jsonb_recv`)."""


def is_possible(using: str) -> bool:
    """Whether this is PostgreSQL by psycopg 3: psycopg 2 copies in another way, and inserts as one does elsewhere."""
    connection: Any = connections[using]
    return bool(connection.vendor == "postgresql" and connection.Database.__version__.startswith("3"))


def copy(table: Table, rows: Iterable[Values], *, using: str) -> None:
    """Append the rows to the table, all or none.

    Rows that are made while COPY takes those before cost no time of their own: the server works beside us. They must be
    made without the database, which would never answer.

    Straight, without a staging table: the caller writes only rows that are not there, under a lease or in a new batch.
    """
    connection: Any = connections[using]
    names = ", ".join(map(connection.ops.quote_name, table.columns))
    into = f"COPY {connection.ops.quote_name(table.model._meta.db_table)} ({names}) FROM STDIN"
    with connection.cursor() as cursor, connection.wrap_database_errors:
        write = _write_text if table.json_at is None else _write_binary
        write(cursor.cursor, into, table, rows, using)


def _write_text(cursor: Any, into: str, table: Table, rows: Iterable[Values], using: str) -> None:
    """Write as text. In binary form PostgreSQL 15 gathers 1,000 rows before it stores any: a small chunk would wait."""
    with cursor.copy(into) as pipe:
        for row in rows:
            pipe.write_row(row)


def _write_binary(cursor: Any, into: str, table: Table, rows: Iterable[Values], using: str) -> None:
    """Write in binary form: JSON goes as the bytes that it is, neither escaped here nor searched for escapes there."""
    with cursor.copy(f"{into} (FORMAT BINARY)") as pipe:
        pipe.set_types(_types(table, using))
        for row in _with_version(table, rows):
            pipe.write_row(row)


@lru_cache
def _types(table: Table, using: str) -> list[str]:
    """Give the columns' types without their lengths. A jsonb goes as bytes: psycopg would encode its text once more."""
    types = [str(field.db_type(connections[using])).partition("(")[0] for field in table.fields]
    return ["bytea" if name == "jsonb" else name for name in types]


def _with_version(table: Table, rows: Iterable[Values]) -> Iterator[list[Any]]:
    at = table.json_at or 0
    for row in rows:
        cells: list[Any] = list(row)
        if (text := cells[at]) is not None:
            cells[at] = JSONB_VERSION + (text.encode() if isinstance(text, str) else text)
        yield cells
