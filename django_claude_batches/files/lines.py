"""The API's own format: one `{"custom_id": …, "params": …}` a line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from django_claude_batches.files.row import Row
from django_claude_batches.strict_json import decoded
from django_claude_batches.wire import MAX_BODY_BYTES

LONGEST = MAX_BODY_BYTES + 1
"""Bytes of a line and its end. A longer one is not read into memory: not even a whole batch may have as much."""


def read_lines(file: BinaryIO) -> Iterator[Row]:
    """Give each line's request, or why it is none, by the line's number from 1. Blank lines are counted and skipped."""
    number = 0
    while data := file.readline(LONGEST + 1):
        number += 1
        if number == 1:
            data = data.removeprefix(b"\xef\xbb\xbf")  # the mark that some editors put before UTF-8
        if len(data) > LONGEST:
            yield Row(number, problem=f"it has more than {MAX_BODY_BYTES:,} bytes, which is all that a batch may have")
            while data and not data.endswith(b"\n"):
                data = file.readline(LONGEST)
        elif data and not data.isspace():
            yield _row(data, number)


def _row(data: bytes, number: int) -> Row:
    try:
        item = decoded(data.rstrip())
    except ValueError as error:
        return Row(number, problem=str(error))
    if not isinstance(item, dict):
        return Row(number, problem='not a JSON object like {"custom_id": "…", "params": {…}}')
    return Row(number, item)
