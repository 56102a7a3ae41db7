"""A row of a file: a request, or a problem."""

from __future__ import annotations

from typing import Any, NamedTuple

WORKBOOK = 'it is an Excel workbook: save it as "CSV UTF-8"'
_WORKBOOK_STARTS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")  # .xlsx, a zip file; .xls


# The number of a row that stands for a problem with the header, the prompt or the whole file.
OF_THE_FILE = 0


class Row(NamedTuple):
    """A row of a file, with its number as editors and spreadsheets count: its request, or why it is invalid.

    The request is an item for `create_draft`, which checks it further.
    """

    number: int
    request: Any = None
    problem: str = ""


def is_workbook(start: bytes) -> bool:
    """Return whether a file with this start is an Excel workbook or another zip file, which cannot be read."""
    return start.startswith(_WORKBOOK_STARTS)
