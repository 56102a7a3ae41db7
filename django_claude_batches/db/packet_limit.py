"""What one statement may carry: MySQL and MariaDB hang up on a longer one, which takes the transaction with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from django.db import connections

Plain = str | bytes | memoryview | int | Decimal | None

ROW_OVERHEAD_BYTES = 64 * 1024
"""Bytes that a row's other columns and the statement's own words take at most."""

MIN_CHECKED_BYTES = 490_000
"""Bytes in a row from which on it is looked at: the smallest packet in use is of 1 MB (the default is 16), and escapes
make at most twice as many bytes.
"""

TEXTS = (str, bytes, memoryview)
ESCAPED = [b"\0", b"\n", b"\r", b"\x1a", b'"', b"'", b"\\"]


def obstacle(*values: Plain, using: str) -> str:
    """Say why a row with these values fits into no statement; nothing where it does."""
    connection: Any = connections[using]
    if connection.vendor != "mysql":
        return ""
    in_hex = (
        connection.Database.__name__ == "pymysql"
    )  # it encodes bytes as hexadecimal digits; mysqlclient escapes them
    needed = ROW_OVERHEAD_BYTES + sum(_escaped_length(value, in_hex=in_hex) for value in values)
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@max_allowed_packet")
        (taken,) = cursor.fetchone()
    if needed <= taken:
        return ""
    return f"the row needs {needed:,} bytes in a statement, and the server takes {taken:,} (its max_allowed_packet)"


def obstacles(rows: Sequence[Iterable[Plain]], *, using: str) -> dict[int, str]:
    """Give the indexes of the rows that fit into no statement, and why."""
    if connections[using].vendor != "mysql":
        return {}
    large = {index: row for index, row in enumerate(rows) if _length(row) > MIN_CHECKED_BYTES}
    found = {index: obstacle(*row, using=using) for index, row in large.items()}
    return {index: reason for index, reason in found.items() if reason}


def _length(row: Iterable[Plain]) -> int:
    """Return the most bytes that the row's texts may have, without encoding them."""
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
