"""What of a line any database can hold, and the rest made so that it can."""

from __future__ import annotations

import json
import math
import re
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


_decode = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_plain, parse_constant=_refuse).decode
_ODD = re.compile(r"\\u0000|\\u[dD][89a-fA-F]")


def as_it_came(data: memoryview) -> dict[str, Any] | None:
    """Give the object of some JSON text; None where a database could not hold the text as it is.

    Quick, so that it can be done a hundred thousand times: it looks only for what needs a closer look.
    """
    try:
        text = str(data, "utf-8")
        if "\\u" in text and _ODD.search(text):
            return None
        parsed = _decode(text)
        # With fewer brackets than that it cannot be too deep.
        if text.count("{") + text.count("[") >= DEEPEST and _depth(parsed) >= DEEPEST:
            return None
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def _depth(value: Any) -> int:
    """Count the levels of nesting."""
    if not isinstance(value, (dict, list)):
        return 0
    return 1 + max(map(_depth, value.values() if isinstance(value, dict) else value), default=0)
