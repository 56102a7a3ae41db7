from __future__ import annotations

from typing import Any, NamedTuple

WORKBOOK = 'it is an Excel workbook: save it as "CSV UTF-8"'
_WORKBOOK_STARTS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")  # .xlsx, a zip file; .xls


# In place of a row's number: the problem is the header's, the prompt's or the whole file's.
OF_THE_FILE = 0


class Row(NamedTuple):
    """A row of a file, by its number as editors and spreadsheets count: its request, or why it is invalid.

    The request is an item for `create_draft`, which makes checks of its own.
    """

    number: int
    request: Any = None
    problem: str = ""


def is_workbook(start: bytes) -> bool:
    """Whether a file with this beginning is an Excel workbook or another zip file, none of which can be read."""
    return start.startswith(_WORKBOOK_STARTS)
