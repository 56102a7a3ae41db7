"""What of a line any database can hold, and the rest made so that it can."""

from __future__ import annotations

import json
import math
import re
from codecs import getincrementaldecoder
from dataclasses import dataclass
from typing import Any

SURE_DIGITS = 15
"""Characters of a decimal that a float gives back as it was."""

DEEPEST = 24
"""Levels of nesting that are stored as JSON; MariaDB's JSON_VALID stops at 32, and `message` is not at the top."""


@dataclass(slots=True)
class Cleaner:
    """Makes any parsed JSON storable on every database, and remembers whether it had to change something."""

    changed: bool = False

    def clean(self, value: Any, depth: int = 1) -> Any:
        """Replace NUL and half characters, NaN and infinities; fold what is nested too deeply into its JSON text."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, float) and not math.isfinite(value):
            self.changed = True
            return None
        if not isinstance(value, (dict, list)):
            return value
        if depth >= DEEPEST:
            self.changed = True
            return self.text(json.dumps(value, ensure_ascii=False))
        if isinstance(value, list):
            return [self.clean(item, depth + 1) for item in value]
        return {self.text(key): self.clean(item, depth + 1) for key, item in value.items()}

    def text(self, value: str, longest: int | None = None) -> str:
        """Replace what UTF-8 or PostgreSQL cannot hold by U+FFFD, and cut at `longest` characters."""
        clean = value.replace("\0", "\ufffd")
        if not clean.isascii():
            clean = clean.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        clean = clean[:longest]
        self.changed |= clean != value
        return clean


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
_ODD = re.compile(rb"\\u0000|\\u[dD][89a-fA-F]")
_STRING = rb'"[^"\\\x00-\x1f]*+(?:(?:\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+"'
"""All that JSON allows from quote to quote.

No look-ahead for what is odd: before Python 3.11.5 a possessive group goes on behind one that failed (gh-106052).
"""

_TEXT, _THINKING = (re.compile(b'"%b": ?%b' % (name, _STRING)) for name in (b"text", b"thinking"))
"""The members whose value is prose. In valid JSON their quotes can be no others': in a string, each has a backslash."""

UTF8_PIECE = 64 * 1024


def as_it_came(data: memoryview) -> dict[str, Any] | None:
    """Give the object of some JSON text, with nothing for its prose; None where a database could not hold the text.

    Quick, so that it can be done a hundred thousand times: it looks only for what needs a closer look. The prose is
    most of an answer, and nobody asks for it here: to match it takes a third of the time that it takes to parse it,
    and no memory, of which a string of 32 MB would take 200.
    """
    try:
        if b"\\u" in data.obj and _ODD.search(data):  # type: ignore[operator]
            return None
        _check_utf8(data)
        skeleton = _TEXT.sub(b'"text":""', data)
        if b'"thinking"' in skeleton:
            skeleton = _THINKING.sub(b'"thinking":""', skeleton)
        text = str(skeleton, "utf-8")
        parsed, end = _decode(text)
        if end != len(text):
            return None
        # With fewer brackets than that it cannot be too deep.
        if text.count("{") + text.count("[") >= DEEPEST and _depth(parsed) >= DEEPEST:
            return None
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def _check_utf8(data: memoryview) -> None:
    """Raise UnicodeDecodeError where it is not UTF-8; hold no more than a piece of it as text."""
    if len(data) <= UTF8_PIECE:
        str(data, "utf-8")
        return
    decoder = getincrementaldecoder("utf-8")()
    for start in range(0, len(data), UTF8_PIECE):
        decoder.decode(data[start : start + UTF8_PIECE], final=start + UTF8_PIECE >= len(data))


def _depth(value: Any) -> int:
    """Count the levels of nesting."""
    if not isinstance(value, (dict, list)):
        return 0
    return 1 + max(map(_depth, value.values() if isinstance(value, dict) else value), default=0)
