from __future__ import annotations

from typing import Any, NamedTuple

WORKBOOK = 'it is an Excel workbook: save it as "CSV UTF-8"'
_WORKBOOK_STARTS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")  # .xlsx, a zip file; .xls


class Row(NamedTuple):
    """A row of a file by its number, as whoever opens the file counts: its request, or why it is none.

    The request is an item for `create_draft`, which has its own say about it.
    """

    number: int
    request: Any = None
    problem: str = ""


def is_workbook(start: bytes) -> bool:
    """Whether a file that begins so is one of Excel's, or another zip file, of which none can be read."""
    return start.startswith(_WORKBOOK_STARTS)
