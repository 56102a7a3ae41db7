"""Whether a line's text can be stored as it is: read without parsing what is only prose."""

from __future__ import annotations

import json
import re
from codecs import getincrementaldecoder
from typing import Any

from django_claude_batches.sanitize import MAX_DEPTH

SURE_DIGITS = 15
"""Characters of a decimal that a float gives back as it was."""


class _Unusual(ValueError):
    """JSON that some database would refuse, or change."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _Unusual
    return members


def _plain(number: str) -> float:
    """Refuse what a float may not hold: 1e999, 1e-20000 (PostgreSQL's numeric neither), and many digits."""
    if len(number) > SURE_DIGITS or "e" in number or "E" in number:
        raise _Unusual
    return float(number)


def _refuse(constant: str) -> float:
    raise _Unusual(constant)


_decode = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_plain, parse_constant=_refuse).raw_decode
_ODD = re.compile(rb"\\(?=u0000|u[dD][89a-fA-F])")
_HARD = re.compile(rb'\\(?!["/bfnrt]|u(?!0000|[dD][89a-fA-F])[0-9a-fA-F]{4})')
"""A backslash that begins none of the escapes that are plain: it is one of two, or odd, or no JSON."""

_NO_CONTROL = bytes(max(byte, 0x20) for byte in range(256))
"""To translate with: what has no control character stays the same object, in half the time that it takes to count."""
_PROSE = ("text", "thinking", "signature")
"""The members whose value is prose, or as long and as different each time."""

_ANY = rb'"[^"\\\x00-\x1f]*+(?:(?:\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+"'
"""All that JSON allows from quote to quote.

No look-ahead for what is odd: before Python 3.11.5 a possessive group goes on behind one that failed (gh-106052).
"""

_PLAIN = rb'"[^"]*+(?:(?<=\\)"[^"]*+)*(?<!\\)"'
"""The same in a fifth of the time, where nothing is hard and there is no control character: a quote ends it, but for
one behind a backslash. No possessive group: with a look-behind in it, those Pythons go on before where it failed."""

OF_ANY, OF_PLAIN = ([re.compile(b'"%b": ?%b' % (name.encode(), text)) for name in _PROSE] for text in (_ANY, _PLAIN))
"""In valid JSON the quotes of a member's name can be no others': in a string, each has a backslash."""

MAX_SCANNED_BYTES = 64 * 1024
"""Bytes of a text that are looked at as a whole: of one of 32 MB there is no room for another copy."""


def has_plain_strings(line: bytes) -> bool:
    """Whether prose in this line can be told by its quotes alone: most lines, and of those that are not too long."""
    return len(line) <= MAX_SCANNED_BYTES and not _HARD.search(line) and line.translate(_NO_CONTROL) == line


def skeleton(data: memoryview) -> bytes | None:
    """Give some JSON text with nothing for its prose; None where a database could not hold the text as it is.

    The prose is most of an answer, and nobody asks for it here: to match it takes a fraction of the time that it takes
    to parse it, and no memory, of which a string of 32 MB would take 200. At the rest, `parsed` has to look.
    """
    line: bytes = data.obj  # type: ignore[assignment]
    plain = has_plain_strings(line)
    if not plain and _ODD.search(data):
        return None
    try:
        _check_utf8(data)
    except UnicodeDecodeError:
        return None
    of_text, *of_thinking = OF_PLAIN if plain else OF_ANY
    found = of_text.sub(b'"text":""', data)
    if b'"thinking"' in found:
        for name, member in zip(_PROSE[1:], of_thinking, strict=True):
            found = member.sub(b'"%b":""' % name.encode(), found)
    return found


def parsed(skeleton: bytes) -> dict[str, Any] | None:
    """Give the object of such a text; None for what is none, or what some database would refuse or change."""
    text = skeleton.decode()
    try:
        value, end = _decode(text)
        if end != len(text):
            return None
        # With fewer brackets than that it cannot be too deep.
        if text.count("{") + text.count("[") >= MAX_DEPTH and _depth(value) >= MAX_DEPTH:
            return None
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _check_utf8(data: memoryview) -> None:
    """Raise UnicodeDecodeError where it is not UTF-8; hold no more than a piece of it as text."""
    if len(data) <= MAX_SCANNED_BYTES:
        str(data, "utf-8")
        return
    decoder = getincrementaldecoder("utf-8")()
    for start in range(0, len(data), MAX_SCANNED_BYTES):
        decoder.decode(data[start : start + MAX_SCANNED_BYTES], final=start + MAX_SCANNED_BYTES >= len(data))


def _depth(value: Any) -> int:
    """Count the levels of nesting."""
    if not isinstance(value, (dict, list)):
        return 0
    return 1 + max(map(_depth, value.values() if isinstance(value, dict) else value), default=0)
