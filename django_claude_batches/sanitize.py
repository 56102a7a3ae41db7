"""Clean what comes from outside (labels, prompts, answers, errors, headers), by one definition for each destination.

For a column, `text`, `short_text`, `moment` and `Cleaner` make what SQLite, PostgreSQL and MariaDB can all hold: no
NUL, no half of a surrogate pair, no number or time out of range, no deep nesting.

For a terminal or a log, `printable`, `printable_lines` and `get_logger` escape what UNPRINTABLE matches. ESC, BEL and
C1 controls change what a terminal shows and does; a line break forges a log record; bidi controls reorder a line. All
are written as JSON escapes, so that JSON which contains them stays equivalent.
"""

from __future__ import annotations

import json
import logging
import math
import re
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

# Characters of a text of the wire that a column without a length of its own keeps: for people, who read no more.
MAX_TEXT = 10_000

# MariaDB's DATETIME begins at 1000, Python ends at 9999; a year's room for time zones and for what is added.
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


def short_text(value: object, longest: int) -> str:
    """Return `text(value, longest)`; nothing for what is no text."""
    return text(value, longest) if isinstance(value, str) else ""


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

    def short_text(self, value: object, longest: int) -> str:
        """Return `short_text(value, longest)`, and remember whether that is another text."""
        return self.text(value, longest) if isinstance(value, str) else ""


# C0 without the tab, DEL, C1, line and paragraph separators, bidi controls, and lone surrogates.
UNPRINTABLE = re.compile("[\0-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Return the text as one line without control characters."""
    return UNPRINTABLE.sub(lambda found: json.dumps(found[0])[1:-1], text)


def printable_lines(text: str) -> str:
    """Return the text with each line escaped; only `\\n` ends a line."""
    return "\n".join(map(printable, text.split("\n")))


def get_logger(name: str) -> logging.Logger:
    """Return the logger of a module of this package, whose records are printable.

    A filter of a parent logger sees no record of its children, so each of ours has it.
    """
    logger = logging.getLogger(name)
    logger.addFilter(_make_printable)
    return logger


def _make_printable(record: logging.LogRecord) -> bool:
    record.msg = printable(str(record.msg))
    if isinstance(record.args, tuple):
        record.args = tuple(arg if isinstance(arg, (int, float)) else printable(str(arg)) for arg in record.args)
    if record.exc_info and record.exc_info[1] is not None:
        # Indented, so that a line break in a message does not look like a new log record.
        said = "".join(traceback.format_exception(record.exc_info[1])).rstrip()
        record.exc_text = "\n".join(f"  {printable(line)}" for line in said.split("\n"))
    return True
