"""Read JSON Lines in the API's own format: one `{"custom_id": …, "params": …}` per line."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import BinaryIO

from django_claude_batches.request_files.record_limits import MAX_LINE_BYTES, problem_with_line
from django_claude_batches.request_files.row import OF_THE_FILE, WORKBOOK, Row, is_workbook
from django_claude_batches.strict_json import decoded

# Maximum bytes that are read of a line.
LIMIT = MAX_LINE_BYTES + len(b"\r\n")


def read_lines(file: BinaryIO) -> Iterator[Row]:
    """Yield a row for each line, with its request or its problem, and the line's number from 1.

    Blank lines are counted and skipped.
    """
    for number in count(1):
        data = file.readline(LIMIT)
        if not data:
            return
        is_complete = len(data) < LIMIT or data.endswith(b"\n")
        if number == 1:
            if is_workbook(data):
                yield Row(OF_THE_FILE, problem=WORKBOOK)
                return
            data = data.removeprefix(b"\xef\xbb\xbf")  # some editors write this byte order mark before UTF-8
        data = data.rstrip() if is_complete else data
        row = _row(data, number) if data else None
        del data  # free its memory before the next line is read, and below that of the row
        if row is not None:
            yield row
        del row
        while not is_complete and (rest := file.readline(LIMIT)):
            is_complete = rest.endswith(b"\n")


def _row(data: bytes, number: int) -> Row:
    if problem := problem_with_line(data):
        return Row(number, problem=problem)
    try:
        item = decoded(data)
    except ValueError as error:
        return Row(number, problem=str(error))
    if not isinstance(item, dict):
        return Row(number, problem='not a JSON object like {"custom_id": "…", "params": {…}}')
    return Row(number, item)
