"""What every database can hold, and anything else made so that it can: texts, times, and parsed JSON.

One module for whatever comes from outside: the mirror of a batch, errors, headers, events, and the lines of results.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

MAX_TEXT = 10_000
"""Characters of a text of the wire that a column without a length of its own keeps: for people, who read no more."""

FIRST_YEAR, LAST_YEAR = 1001, 9998
"""MariaDB's DATETIME begins at 1000, Python ends at 9999; a year's room for time zones and for what is added."""

MAX_DEPTH = 24
"""Levels of nesting that are stored as JSON; MariaDB's JSON_VALID stops at 32, and `message` is not at the top."""


def text(value: str, longest: int | None = None) -> str:
    """Replace what UTF-8 or PostgreSQL cannot hold (NUL, half characters) by U+FFFD, and cut at `longest` characters.

    The length of a column is in characters on all three databases, MariaDB's utf8mb4 included.
    """
    clean = value[:longest].replace("\0", "\ufffd")
    if not clean.isascii():
        clean = clean.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return clean


def moment(value: object) -> datetime | None:
    """Return an RFC 3339 text, or an aware datetime, in UTC; None for what is no time, or none that can be stored."""
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else value
        if not isinstance(found, datetime) or found.tzinfo is None:
            return None
        found = found.astimezone(UTC)
    except (ValueError, OverflowError):  # no time; one that is outside of Python's calendar in UTC
        return None
    return found if FIRST_YEAR <= found.year <= LAST_YEAR else None


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
        if depth >= MAX_DEPTH:
            self.changed = True
            return self.text(json.dumps(value, ensure_ascii=False))
        if isinstance(value, list):
            return [self.clean(item, depth + 1) for item in value]
        return {self.text(key): self.clean(item, depth + 1) for key, item in value.items()}

    def text(self, value: str, longest: int | None = None) -> str:
        """Return `text(value, longest)`, and remember whether that is another one."""
        clean = text(value, longest)
        self.changed |= clean != value
        return clean
