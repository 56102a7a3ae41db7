"""How large a record of a file may be, so that no file takes more memory than a worker has."""

from __future__ import annotations

import re
from itertools import islice

MAX_LINE_BYTES = 32_000_000
"""Bytes of a request in a file of requests: one with a document of some 20 MB in base64."""

MAX_DECODED_BYTES = 64_000_000
"""Bytes of such a line in memory. Python keeps a text that has an emoji in 4 bytes for each character."""

MAX_VALUES = 100_000
"""Objects, lists and members of such a line: each takes some 200 bytes, so 20 MB of `{},{},…` took 1.5 GB."""

MAX_RECORD_BYTES = 4_000_000
"""Bytes of a row of a table, of which one question is made: about what the longest context of a model holds."""

MAX_PROMPT_CHARACTERS = 16_000_000
"""Characters of a prompt with a row's cells in it: it may name a column many times."""

MAX_PLACES = 1000
"""Places of columns in a prompt, each of which takes time in each row."""

_MARKS = (b",", b"[", b"{")
_STRING_OR_MARK = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[,\[{]', re.DOTALL)
_WIDE = (*(bytes([first]) for first in range(0xF0, 0xF5)), b"\\u")


def problem_with_line(data: bytes) -> str:
    """Say why a line of JSON takes too much memory to be read; nothing if it does not. Take linear time."""
    if len(data) > MAX_LINE_BYTES:
        return f"it has more than {MAX_LINE_BYTES:,} bytes, and a request in a file has at most so many"
    width = 1 if data.isascii() and b"\\u" not in data else 4 if any(mark in data for mark in _WIDE) else 2
    if len(data) * width > MAX_DECODED_BYTES:
        most = MAX_DECODED_BYTES // width
        return f"it has {len(data):,} bytes, and with characters such as it has a request has at most {most:,}"
    if sum(map(data.count, _MARKS)) > MAX_VALUES and _has_many_values(data):
        return f"it has more than {MAX_VALUES:,} values, and a request in a file has at most so many"
    return ""


def _has_many_values(data: bytes) -> bool:
    """Whether there are too many outside of texts, where commas mean nothing."""
    marks = (found for found in _STRING_OR_MARK.finditer(data) if found[0] in _MARKS)
    return next(islice(marks, MAX_VALUES, None), None) is not None
