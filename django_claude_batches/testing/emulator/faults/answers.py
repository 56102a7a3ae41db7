"""Apply bends to an answer: to its fields, its headers, its status and its body.

Each function here applies one kind of `Bend` to the answer of a `Turn`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from django_claude_batches.testing.emulator.downloads import Outgoing
from django_claude_batches.testing.emulator.http_messages import Response, encoded
from django_claude_batches.testing.emulator.lines import Line

from .context import Turn
from .fields import PAGE, Path, decoded, put, read
from .results import cut_lines

BODILESS = frozenset({204, 304})

# The fields that only an error's answer has; both have a `type`.
ERROR_ONLY = ("error", "request_id")

Change = Callable[[Any], Any]


def bent_field(turn: Turn, *, path: Path, change: Change, entry: int | None = None) -> Response:
    """Change the value at `path` by `change`: in the answer, or in each of its entries or lines.

    `entry` selects only the entry or line of this number, counted from 1.
    """
    answer = turn.answer()
    if isinstance(answer.body, Outgoing):
        lines = [
            _bent_line(line, path, change) if entry in (None, number) else line
            for number, line in enumerate(answer.body.lines, start=1)
        ]
        return replace(answer, body=replace(answer.body, lines=lines))
    document = decoded(answer)
    bent = [put(part, path, change) for part in _parts(document, path, entry)]
    return replace(answer, body=encoded(document)) if any(bent) else answer


def _parts(document: Any, path: Path, entry: int | None) -> list[Any]:
    """Return the objects of an answer in which `path` is looked up."""
    if not isinstance(document, dict):
        return []
    if path[0] not in ("type", *ERROR_ONLY) if "error" in document else path[0] in ERROR_ONLY:
        return []
    entries = document.get("data")
    if path[0] in PAGE or not isinstance(entries, list):
        return [document] if entry is None else []
    return [each for number, each in enumerate(entries, start=1) if entry in (None, number)]


def _bent_line(line: Line, path: Path, change: Change) -> Line:
    document = read(line.raw)  # None for garbage made by an earlier fault
    if not isinstance(document, dict) or not put(document, path, change):
        return line
    custom_id = document.get("custom_id")
    return line._replace(raw=encoded(document) + b"\n", custom_id=custom_id if isinstance(custom_id, str) else "")


def bent_header(turn: Turn, *, header: str, change: Callable[[str], str | None]) -> Response:
    """Change the header by `change`, and add it if the answer has none; None removes it."""
    answer = turn.answer()
    value = change(answer.headers.get(header, ""))
    if value is None:
        left = {name: each for name, each in answer.headers.items() if name != header}
        return replace(answer, headers=left, omits=answer.omits | {header})
    return replace(answer, headers=answer.headers | {header: value})


def bent_status(turn: Turn, *, status: int) -> Response:
    """Execute the request, and answer with another status."""
    answer = turn.answer()
    body = b"" if status in BODILESS else answer.body
    return replace(answer, status=status, body=body)


def slow(turn: Turn, *, seconds: float = 1.0) -> Response:
    """Send the body in ten pieces that take `seconds` in total."""
    answer = turn.answer()
    body = answer.body
    size = sum(len(line.raw) for line in body.lines) if isinstance(body, Outgoing) else len(_whole(answer))
    return answer.sent(piece_bytes=max(1, -(-size // 10)), pause=seconds / 10)


def dripped(turn: Turn, *, seconds: float = 1.0) -> Response:
    """Send the answer byte by byte from its status line on, with a pause of `seconds` after each."""
    return turn.answer().sent(drip=seconds)


def endless_continue(turn: Turn, *, seconds: float = 1.0) -> Response:
    """Send `100 Continue` instead of the answer, again and again, `seconds` between."""
    return turn.answer().sent(endless="continue", pause=seconds)


def endless_trailers(turn: Turn, *, seconds: float = 1.0) -> Response:
    """Never end the answer: send trailers after its body, `seconds` between."""
    return turn.answer().sent(endless="trailers", pause=seconds)


def cut(turn: Turn) -> Response:
    """End the connection after half of the body: of results, in the middle of a line."""
    answer = turn.answer()
    if isinstance(answer.body, Outgoing):
        return cut_lines(answer, mid_line=bool(answer.body.lines))
    return answer.sent(cut=True, sent_bytes=len(_whole(answer)) // 2)


def inflated(turn: Turn, *, size: int = 1_000_000) -> Response:
    """Extend the body by `size` bytes of white space; results, by as many blank lines."""
    answer = turn.answer()
    if isinstance(answer.body, Outgoing):
        lines = [*answer.body.lines, Line("", "", b"\n" * size)]
        return replace(answer, body=replace(answer.body, lines=lines))
    return replace(answer, body=_whole(answer) + b" " * size)


def _whole(answer: Response) -> bytes:
    assert isinstance(answer.body, bytes)
    return answer.body
