"""What one statement may carry: MySQL and MariaDB hang up on a longer one, which takes the transaction with it."""

from __future__ import annotations

import json
from typing import Any

from django.db import connections

OTHERS = 64 * 1024
"""Bytes that a row's other columns and the statement's own words take at most."""

ESCAPED = [b"\0", b"\n", b"\r", b"\x1a", b'"', b"'", b"\\"]


def obstacle(*values: Any, using: str) -> str:
    """Say why a row with these values fits into no statement; nothing where it does.

    Texts and bytes are written as they are, all else as a JSON column is.
    """
    connection = connections[using]
    if connection.vendor != "mysql":
        return ""
    needed = OTHERS + sum(_written(value) for value in values)
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@max_allowed_packet")
        (taken,) = cursor.fetchone()
    if needed <= taken:
        return ""
    return f"the row needs {needed:,} bytes in a statement, and the server takes {taken:,} (its max_allowed_packet)"


def _written(value: Any) -> int:
    if not isinstance(value, (str, bytes)):
        value = json.dumps(value)
    data = value.encode() if isinstance(value, str) else value
    return len(data) + sum(data.count(byte) for byte in ESCAPED)
