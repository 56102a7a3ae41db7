"""Limits of a record in a file, which bound the memory that reading a file takes."""

from __future__ import annotations

import re
from itertools import islice

# Maximum bytes of a line with a request: enough for a document of about 20 MB in base64.
MAX_LINE_BYTES = 32_000_000

# Maximum bytes of such a line as a `str`; several copies exist at a time, 130 MB in all. Python takes 1 byte for each
# character if all are up to U+00FF, 2 bytes if all are up to U+FFFF, and otherwise 4.
MAX_DECODED_BYTES = 40_000_000

# Maximum objects, lists and members of such a line. Each takes about 200 bytes: 20 MB of `{},{},…` would take 1.5 GB.
MAX_VALUES = 100_000

# Maximum bytes of a row of a table, which becomes one request: about the longest context of a model.
MAX_RECORD_BYTES = 4_000_000

# Maximum characters of a prompt with a row's cells in it: it may name a column many times.
MAX_PROMPT_CHARACTERS = 16_000_000

# Maximum placeholders in a prompt: each one takes time in each row.
MAX_PLACES = 1000

_MARKS = (b",", b"[", b"{")
_STRING_OR_MARK = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[,\[{]', re.DOTALL)
_ABOVE_FF = re.compile(rb"[\xc4-\xf4]|\\u(?!00)")
_ABOVE_FFFF = re.compile(rb"[\xf0-\xf4]|\\u[dD][89abAB]")


def problem_with_line(data: bytes) -> str:
    """Return why decoding a line of JSON would take too much memory; empty if it would not. Takes linear time."""
    if len(data) > MAX_LINE_BYTES:
        return f"it has more than {MAX_LINE_BYTES:,} bytes, the maximum for a request in a file"
    for width, characters in ((4, _ABOVE_FFFF), (2, _ABOVE_FF)):
        most = MAX_DECODED_BYTES // width
        if len(data) > most and characters.search(data):
            return f"it has {len(data):,} bytes, and with the characters that it contains, the maximum is {most:,}"
    if sum(map(data.count, _MARKS)) > MAX_VALUES and _has_many_values(data):
        return f"it has more than {MAX_VALUES:,} values, the maximum for a request in a file"
    return ""


def _has_many_values(data: bytes) -> bool:
    """Return whether there are too many values: count the commas and opening brackets outside of strings."""
    marks = (found for found in _STRING_OR_MARK.finditer(data) if found[0] in _MARKS)
    return next(islice(marks, MAX_VALUES, None), None) is not None
