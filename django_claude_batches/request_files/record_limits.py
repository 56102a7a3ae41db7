"""Limits of a record in a file, so that no file takes more memory than a worker has."""

from __future__ import annotations

import re
from itertools import islice

# Bytes of a request in a file of requests: enough for a document of some 20 MB in base64.
MAX_LINE_BYTES = 32_000_000

# Bytes of such a line as a text, of which several copies exist at a time: 130 MB in all. Python takes 1 byte for each
# character up to U+00FF, 2 for each if the text has one up to U+FFFF, and 4 otherwise.
MAX_DECODED_BYTES = 40_000_000

# Objects, lists and members of such a line: each takes some 200 bytes, so 20 MB of `{},{},…` took 1.5 GB.
MAX_VALUES = 100_000

# Bytes of a row of a table, which becomes one request: about the longest context of a model.
MAX_RECORD_BYTES = 4_000_000

# Characters of a prompt with a row's cells in it: it may name a column many times.
MAX_PROMPT_CHARACTERS = 16_000_000

# Placeholders in a prompt: each takes time in each row.
MAX_PLACES = 1000

_MARKS = (b",", b"[", b"{")
_STRING_OR_MARK = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[,\[{]', re.DOTALL)
_ABOVE_FF = re.compile(rb"[\xc4-\xf4]|\\u(?!00)")
_ABOVE_FFFF = re.compile(rb"[\xf0-\xf4]|\\u[dD][89abAB]")


def problem_with_line(data: bytes) -> str:
    """Return why reading a line of JSON takes too much memory; empty if it does not. Linear time."""
    if len(data) > MAX_LINE_BYTES:
        return f"it has more than {MAX_LINE_BYTES:,} bytes, and a request in a file has at most so many"
    for width, characters in ((4, _ABOVE_FFFF), (2, _ABOVE_FF)):
        most = MAX_DECODED_BYTES // width
        if len(data) > most and characters.search(data):
            return f"it has {len(data):,} bytes, and a request with such characters as it has has at most {most:,}"
    if sum(map(data.count, _MARKS)) > MAX_VALUES and _has_many_values(data):
        return f"it has more than {MAX_VALUES:,} values, and a request in a file has at most so many"
    return ""


def _has_many_values(data: bytes) -> bool:
    """Whether there are too many values: commas outside of texts are counted."""
    marks = (found for found in _STRING_OR_MARK.finditer(data) if found[0] in _MARKS)
    return next(islice(marks, MAX_VALUES, None), None) is not None
