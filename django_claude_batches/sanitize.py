"""Make texts, times and JSON from outside storable on every database."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

# Characters kept of a text of the wire in a column without a maximum length: enough for people to read.
MAX_TEXT = 10_000

# MariaDB's DATETIME begins at 1000, Python ends at 9999; a year is left for time zones and additions.
FIRST_YEAR, LAST_YEAR = 1001, 9998

# Levels of nesting that are stored as JSON; MariaDB's JSON_VALID stops at 32, and `message` is not at the top.
MAX_DEPTH = 24


def text(value: str, longest: int | None = None) -> str:
    """Replace NUL and lone surrogates, which UTF-8 or PostgreSQL cannot store, by U+FFFD; truncate to `longest`.

    `longest` is in characters, as the length of a column is on all three databases, MariaDB's utf8mb4 included.
    """
    clean = value[:longest].replace("\0", "\ufffd")
    if not clean.isascii():
        clean = clean.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return clean


def moment(value: object) -> datetime | None:
    """Return an RFC 3339 text, or an aware datetime, in UTC; None for any other value, or an unstorable time."""
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else value
        if not isinstance(found, datetime) or found.tzinfo is None:
            return None
        found = found.astimezone(UTC)
    except (ValueError, OverflowError):  # not a time, or outside of Python's calendar in UTC
        return None
    return found if FIRST_YEAR <= found.year <= LAST_YEAR else None


@dataclass(slots=True)
class Cleaner:
    """Make parsed JSON storable on every database, and record whether anything had to be changed."""

    changed: bool = False

    def clean(self, value: Any, depth: int = 1) -> Any:
        """Replace NUL, lone surrogates, NaN and infinities; store what is nested too deeply as JSON text."""
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
        """Return `text(value, longest)`, and record whether that differs from `value`."""
        clean = text(value, longest)
        self.changed |= clean != value
        return clean
