"""Store errors so that their type and place are public, and their message only visible with permission.

The message of an error raised by the project's code may quote an answer or a prompt, as that of `int(result.text)`
does. So a stored text begins with the error's type and place; the message follows a line that starts a traceback.
`public_part` removes that line and everything below it. Messages of the API have no traceback, and are public.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable
from types import TracebackType

TRACEBACK_START = "Traceback (most recent call last):"
# Characters kept of a traceback's end, which has the message.
MAX_TRACEBACK = 2_000

# The line of a traceback that has the error's type and message.
ERROR_LINE = re.compile(r"^\w[\w.]*: .+$", re.MULTILINE)

PACKAGE_PREFIX = "django_claude_batches."


def format_with_traceback(error: BaseException, longest: int = MAX_TRACEBACK) -> str:
    """Return the error's type and place in one line, and below it the end of its traceback."""
    said = "".join(traceback.format_exception(error)).removeprefix(f"{TRACEBACK_START}\n")
    return f"{_place(error)}\n{TRACEBACK_START}\n{said[-longest:].rstrip()}"


def format_error(error: BaseException) -> str:
    """Return the message of an error of this package; of any other error, the result of `format_with_traceback`."""
    return str(error) if is_ours(error) else format_with_traceback(error)


def is_ours(error: BaseException) -> bool:
    """Return whether this package raised it.

    An instance of this package's classes may also be raised by project code.
    """
    last = _last(error.__traceback__)
    return type(error).__module__.startswith(PACKAGE_PREFIX) and (
        last is None or _module(last).startswith(PACKAGE_PREFIX)
    )


def join_errors(texts: Iterable[str]) -> str:
    """Join several such texts into one, with the public parts first."""
    texts = [text for text in texts if text]
    words = [text[len(head) :].strip() for text in texts if (head := text.partition(TRACEBACK_START)[0]) != text]
    return "\n".join(["; ".join(public_part(text) for text in texts), *words])


def public_part(text: str) -> str:
    """Return the public part of a text; all of it if it has no traceback."""
    head, mark, _words = text.partition(TRACEBACK_START)
    return head.rstrip(" :\n") if mark else text


def one_line(text: str) -> str:
    """Return the public part of a text, followed by the error's message if the text still has it."""
    said = ERROR_LINE.findall(text.partition(TRACEBACK_START)[2])
    return f"{public_part(text)}: {said[-1]}" if said else public_part(text)


def _place(error: BaseException) -> str:
    name, last = type(error).__name__, _last(error.__traceback__)
    if last is None:
        return name
    return f"{name} at {_module(last)}, line {last.tb_lineno}, in {last.tb_frame.f_code.co_qualname}"


def _last(found: TracebackType | None) -> TracebackType | None:
    while found is not None and found.tb_next is not None:
        found = found.tb_next
    return found


def _module(found: TracebackType) -> str:
    return str(found.tb_frame.f_globals.get("__name__", "?"))
