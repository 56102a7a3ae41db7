"""Escape control characters in texts from outside (labels, answers, errors) for terminals and logs.

ESC, BEL and C1 controls change what a terminal shows and does; a line break forges a log record; bidi controls reorder
a line. All are written as JSON escapes, so that JSON which contains them stays equivalent.
"""

from __future__ import annotations

import json
import logging
import re
import traceback

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

    A parent logger's filter does not see records of its children, so each logger has the filter.
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
