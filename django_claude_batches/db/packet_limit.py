"""Check that a row fits into one statement: `max_allowed_packet` of MySQL and MariaDB.

The server closes the connection if a statement is longer, which loses the transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from django.db import connections

Plain = str | bytes | memoryview | int | Decimal | None

# Maximum bytes of a row's other columns and of the statement itself.
ROW_OVERHEAD_BYTES = 64 * 1024

# Smaller rows are not checked: the smallest limit in use is 1 MB (the default is 16 MB), and escaping at most doubles
# the bytes of a row.
MIN_CHECKED_BYTES = 490_000

TEXTS = (str, bytes, memoryview)
ESCAPED = [b"\0", b"\n", b"\r", b"\x1a", b'"', b"'", b"\\"]


def obstacle(*values: Plain, using: str) -> str:
    """Return why a row with these values does not fit into a statement; empty if it does."""
    connection: Any = connections[using]
    if connection.vendor != "mysql":
        return ""
    # PyMySQL encodes bytes as hexadecimal digits; mysqlclient escapes them.
    in_hex = connection.Database.__name__ == "pymysql"
    needed = ROW_OVERHEAD_BYTES + sum(_escaped_length(value, in_hex=in_hex) for value in values)
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@max_allowed_packet")
        (taken,) = cursor.fetchone()
    if needed <= taken:
        return ""
    return f"the row needs {needed:,} bytes in a statement, and the server accepts {taken:,} (its max_allowed_packet)"


def obstacles(rows: Sequence[Iterable[Plain]], *, using: str) -> dict[int, str]:
    """Return why rows do not fit into a statement, by the index of the row."""
    if connections[using].vendor != "mysql":
        return {}
    large = {index: row for index, row in enumerate(rows) if _length(row) > MIN_CHECKED_BYTES}
    found = {index: obstacle(*row, using=using) for index, row in large.items()}
    return {index: reason for index, reason in found.items() if reason}


def _length(row: Iterable[Plain]) -> int:
    """Return an upper bound of the bytes of the row's texts, without encoding them."""
    return sum(
        len(value) * (4 if isinstance(value, str) and not value.isascii() else 1)
        for value in row
        if isinstance(value, TEXTS)
    )


def _escaped_length(value: Plain, *, in_hex: bool) -> int:
    if not isinstance(value, TEXTS):
        return 0
    if in_hex and not isinstance(value, str):
        return 2 * len(value)
    data = value.encode() if isinstance(value, str) else bytes(value)
    return len(data) + sum(data.count(byte) for byte in ESCAPED)
