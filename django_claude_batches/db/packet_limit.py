"""Check that a row fits into one statement (`max_allowed_packet` of MySQL and MariaDB).

For a longer one the server closes the connection, which loses the transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from django.db import connections

Plain = str | bytes | memoryview | int | Decimal | None

# Maximum bytes of a row's other columns and of the statement itself.
ROW_OVERHEAD_BYTES = 64 * 1024

# Bytes of a row from which on it is checked: the smallest packet in use is 1 MB (the default is 16), and escapes at
# most double the bytes.
MIN_CHECKED_BYTES = 490_000

TEXTS = (str, bytes, memoryview)
ESCAPED = [b"\0", b"\n", b"\r", b"\x1a", b'"', b"'", b"\\"]


def obstacle(*values: Plain, using: str) -> str:
    """Return why a row with these values does not fit into a statement; empty if it does."""
    connection: Any = connections[using]
    if connection.vendor != "mysql":
        return ""
    # It encodes bytes as hexadecimal digits; mysqlclient escapes them.
    in_hex = connection.Database.__name__ == "pymysql"
    needed = ROW_OVERHEAD_BYTES + sum(_escaped_length(value, in_hex=in_hex) for value in values)
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@max_allowed_packet")
        (taken,) = cursor.fetchone()
    if needed <= taken:
        return ""
    return f"the row needs {needed:,} bytes in a statement, and the server takes {taken:,} (its max_allowed_packet)"


def obstacles(rows: Sequence[Iterable[Plain]], *, using: str) -> dict[int, str]:
    """Return the indexes of the rows that do not fit into a statement, and why."""
    if connections[using].vendor != "mysql":
        return {}
    large = {index: row for index, row in enumerate(rows) if _length(row) > MIN_CHECKED_BYTES}
    found = {index: obstacle(*row, using=using) for index, row in large.items()}
    return {index: reason for index, reason in found.items() if reason}


def _length(row: Iterable[Plain]) -> int:
    """Return the maximum number of bytes that the row's texts may have, without encoding them."""
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
