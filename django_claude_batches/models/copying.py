"""PostgreSQL's COPY: many rows in one statement, as bytes that are ready before it begins."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from django.db import connections

from django_claude_batches.models.rows import Table, Value, Values

PIECE = 100
"""Rows handed to the driver at a time."""

SHORT = 40
"""Characters of a text that is worth remembering in its encoded form."""


def is_possible(using: str) -> bool:
    """Whether this is PostgreSQL by psycopg 3: psycopg 2 copies in another way, and inserts as one does elsewhere."""
    connection: Any = connections[using]
    return bool(connection.vendor == "postgresql" and connection.Database.__version__.startswith("3"))


def encode(rows: list[Values]) -> list[bytes]:
    """Give rows in COPY's text format."""
    return list(map(_line, rows))


def _line(row: Values) -> bytes:
    cells = [
        _encoded(value) if not isinstance(value, int | None) and len(value) >= SHORT else _kept(value) for value in row
    ]
    return b"\t".join(cells) + b"\n"


def _encoded(value: Value) -> bytes:
    if value is None:
        return b"\\N"
    if isinstance(value, int):
        return b"%d" % value
    if isinstance(value, bytes):
        return b"\\\\x" + value.hex().encode()
    data = value.encode() if isinstance(value, str) else bytes(value)
    if b"\\" in data:
        data = data.replace(b"\\", b"\\\\")
    if b"\n" in data or b"\t" in data or b"\r" in data:  # rarely: in JSON they are escapes
        data = data.replace(b"\n", b"\\n").replace(b"\t", b"\\t").replace(b"\r", b"\\r")
    return data


_kept = lru_cache(maxsize=4096)(_encoded)
"""Most values are short, and come again and again: models, stop reasons, counts."""


def copy(table: Table, rows: list[bytes], *, using: str) -> None:
    """Append the encoded rows to the table, all or none.

    Straight, without a staging table: the caller writes only rows that are not there, under a lease or in a new batch.
    """
    connection: Any = connections[using]
    names = ", ".join(map(connection.ops.quote_name, table.columns))
    statement = f"COPY {connection.ops.quote_name(table.name)} ({names}) FROM STDIN"
    with connection.cursor() as cursor, connection.wrap_database_errors, cursor.cursor.copy(statement) as pipe:
        for start in range(0, len(rows), PIECE):
            pipe.write(b"".join(rows[start : start + PIECE]))
