"""Faults in the stream of results: which lines are sent, in which order, and where the stream is cut.

`line` counts from 1, in the order in which the lines would be sent. Added lines have the `Line.type` "".
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from django_claude_batches.testing.emulator.downloads import Outgoing
from django_claude_batches.testing.emulator.http_messages import Response
from django_claude_batches.testing.emulator.lines import Line

from .context import Turn, faults

Change = Callable[..., list[Line]]


def on_lines(change: Change) -> Callable[..., Response]:
    """Make a fault from a function of the lines. An answer without lines, such as a 404, stays unchanged."""

    @functools.wraps(change)
    def spoil(turn: Turn, **options: Any) -> Response:
        answer = turn.answer()
        if not isinstance(answer.body, Outgoing):
            return answer
        return replace(answer, body=replace(answer.body, lines=change(answer.body.lines, **options)))

    return spoil


def cut_mid_line(turn: Turn, *, after: int | None = None, clean: bool = False, reset: bool = False) -> Response:
    """Cut the stream within a line, `after` this number of whole lines (default: half). `clean` ends it properly."""
    return cut_lines(turn.answer(), after=after, mid_line=True, clean=clean, reset=reset)


def cut_at_line_end(turn: Turn, *, after: int | None = None, clean: bool = False, reset: bool = False) -> Response:
    """Cut the stream between two lines, `after` this number of them (default: half). `clean` ends it properly."""
    return cut_lines(turn.answer(), after=after, mid_line=False, clean=clean, reset=reset)


def cut_lines(
    answer: Response, *, mid_line: bool, after: int | None = None, clean: bool = False, reset: bool = False
) -> Response:
    """Cut the answer, if it has lines; see the faults above."""
    if not isinstance(answer.body, Outgoing):
        return answer
    lines = answer.body.lines
    kept = len(lines) // 2 if after is None else after
    torn = lines[kept].raw[: len(lines[kept].raw) // 2] if mid_line else b""
    body = replace(answer.body, lines=lines[:kept], tail=torn, whole=False)
    return replace(answer, body=body).sent(cut=not clean, reset=reset and not clean)


def other_order(turn: Turn) -> Response:
    """Send the lines in another order, drawn again for each download."""
    return on_lines(lambda lines: turn.random.sample(lines, len(lines)))(turn)


def empty_results(lines: list[Line]) -> list[Line]:
    """Send no lines."""
    return []


def no_last_newline(lines: list[Line]) -> list[Line]:
    """Send the last line without a newline."""
    return [*lines[:-1], lines[-1]._replace(raw=lines[-1].raw.rstrip(b"\n"))]


def crlf(lines: list[Line]) -> list[Line]:
    """End lines with CRLF."""
    return [line._replace(raw=line.raw[:-1] + b"\r\n") for line in lines]


def blank_lines(lines: list[Line]) -> list[Line]:
    """Send a blank line after each line."""
    return [each for line in lines for each in (line, _inserted(b"\n"))]


def duplicate_line(lines: list[Line], *, line: int = 1) -> list[Line]:
    """Send a line once more at the end."""
    return [*lines, lines[line - 1]]


def missing_line(lines: list[Line], *, line: int = 1) -> list[Line]:
    """Omit a line."""
    return lines[: line - 1] + lines[line:]


def foreign_line(lines: list[Line], *, line: int = 1, count: int = 1, custom_id: str = "foreign") -> list[Line]:
    """Before a line, send lines with custom_ids that no request has: `custom_id`, `custom_id`2 and so on."""
    result = json.loads(lines[0].raw)["result"]
    names = [custom_id if number == 1 else f"{custom_id}{number}" for number in range(1, count + 1)]
    made = [_inserted(json.dumps({"custom_id": name, "result": result}).encode() + b"\n", name) for name in names]
    return lines[: line - 1] + made + lines[line - 1 :]


def garbage_line(lines: list[Line], *, line: int = 1, text: str = '{"custom_id": not JSON') -> list[Line]:
    """Before a line, send `text`, which is not JSON."""
    return [*lines[: line - 1], _inserted(text.encode() + b"\n"), *lines[line - 1 :]]


def _inserted(raw: bytes, custom_id: str = "") -> Line:
    return Line(custom_id, "", raw)


CHANGES = (empty_results, no_last_newline, crlf, blank_lines, duplicate_line, missing_line, foreign_line, garbage_line)
FAULTS = faults(("results",), cut_mid_line, cut_at_line_end, other_order, *map(on_lines, CHANGES))
