"""Bulk inserts by PostgreSQL's COPY: rows are built while the server stores those before them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from django.db import connections, models

# Text may be a view of its UTF-8, as for JSON in a line: that saves one copy. Bytes are for a column of bytes.
Value = str | memoryview | bytes | int | Decimal | None

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
        """Return the index of its JSON column, whose value may be a view of bytes."""
        return next((at for at, field in enumerate(self.fields) if isinstance(field, models.JSONField)), None)


# Prefix of the text of a jsonb in binary form (`jsonb_recv`).
JSONB_VERSION = b"\x01"


def is_possible(using: str) -> bool:
    """Whether this is PostgreSQL with psycopg 3. With psycopg 2, whose COPY differs, rows are inserted as elsewhere."""
    connection: Any = connections[using]
    return bool(connection.vendor == "postgresql" and connection.Database.__version__.startswith("3"))


def copy(table: Table, rows: Iterable[Values], *, using: str) -> None:
    """Append the rows to the table, all or none.

    Building rows while COPY stores those before costs no extra time: the server works in parallel. They must be built
    without the database, which would never answer.

    No staging table: the caller writes only rows that do not exist yet, under a lease or in a new batch.
    """
    connection: Any = connections[using]
    names = ", ".join(map(connection.ops.quote_name, table.columns))
    into = f"COPY {connection.ops.quote_name(table.model._meta.db_table)} ({names}) FROM STDIN"
    json_at = table.json_at
    # As text without JSON: in binary form PostgreSQL 15 collects 1,000 rows before it stores any, and small chunks
    # would wait. With JSON in binary form: it is sent as its bytes, neither escaped here nor unescaped by the server.
    if json_at is not None:
        into, rows = f"{into} (FORMAT BINARY)", _with_version(rows, json_at)
    with connection.cursor() as cursor, connection.wrap_database_errors, cursor.cursor.copy(into) as pipe:
        if json_at is not None:
            pipe.set_types(_types(table, using))
        for row in rows:
            pipe.write_row(row)


@lru_cache
def _types(table: Table, using: str) -> list[str]:
    """Return the columns' types without their lengths. A jsonb is sent as bytes: psycopg would encode text again."""
    types = [str(field.db_type(connections[using])).partition("(")[0] for field in table.fields]
    return ["bytea" if name == "jsonb" else name for name in types]


def _with_version(rows: Iterable[Values], json_at: int) -> Iterator[Any]:
    for row in rows:
        cells: list[Any] = list(row)
        if (text := cells[json_at]) is not None:
            cells[json_at] = JSONB_VERSION + (text.encode() if isinstance(text, str) else text)
        yield cells
