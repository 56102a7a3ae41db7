"""Split a stream of bytes into lines. Knows neither HTTP nor JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from django_claude_batches.exceptions import ResultsTooLarge
from django_claude_batches.wire import MAX_REQUESTS

# Bytes of one line before it counts as oversized. Answers of 300,000 tokens make lines of 1 to 2 MB.
MAX_LINE_BYTES = 64 * 1024 * 1024

# Bytes of an oversized line that are skipped before it counts as endless.
MAX_SKIPPED_BYTES = 4 * MAX_LINE_BYTES

# Bytes kept of an oversized line: enough to read its `custom_id`, which comes first.
EXCERPT_BYTES = 4096


class Line(NamedTuple):
    """One line as it came, without its newline.

    `number` counts from 1, blank lines included; `offset` is the byte at which the line begins. Of an oversized line
    `data` holds only the first bytes.
    """

    number: int
    offset: int
    data: bytes
    oversized: bool = False


class _Pending:
    """The line being read, as the pieces received; joined once, since adding up megabytes is quadratic."""

    def __init__(self, max_line_bytes: int) -> None:
        self._max_line_bytes = max_line_bytes
        self._pieces: list[bytes] = []
        self.size = 0

    def add(self, piece: bytes) -> None:
        fitted = self.size <= self._max_line_bytes
        self.size += len(piece)
        if self.size <= self._max_line_bytes:
            self._pieces.append(piece)
        elif fitted:
            self._pieces = [b"".join([*self._pieces, piece])[:EXCERPT_BYTES]]

    def take(self, number: int, offset: int) -> Line:
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        line = Line(number, offset, data.removesuffix(b"\r"), self.size > self._max_line_bytes)
        self._pieces, self.size = [], 0
        return line


def max_lines(requests: int) -> int:
    """Return how many lines the results of so many requests may have, blank ones included.

    The API sends a line for each. Each may be repeated, or be followed by a blank line, and 1,000 are added.
    """
    return 2 * requests + 1000


MAX_LINES = max_lines(MAX_REQUESTS)


def split_lines(
    pieces: Iterable[bytes], *, max_line_bytes: int = MAX_LINE_BYTES, max_lines: int = MAX_LINES
) -> Iterator[Line]:
    r"""Yield the lines of a stream of bytes, each as soon as it is complete.

    Only `\n` ends a line: `str.splitlines` would cut JSON at U+2028 (docs/reference/wire.md §11.14). A `\r` before it
    is trimmed, blank lines are counted and skipped, and the last line needs no newline. If `pieces` raises, all
    complete lines were yielded; the incomplete one was not. Memory: one line and one piece.

    Raise ResultsTooLarge after `max_lines` lines, blank ones included, and in a line of more than 256 MiB.
    """
    number, offset = 1, 0
    pending = _Pending(max_line_bytes)
    for piece in pieces:
        *ends, rest = piece.split(b"\n")
        for end in ends:
            if number > max_lines:
                raise _too_many(max_lines)
            size = len(end)
            if pending.size or size > max_line_bytes:
                size += pending.size
                pending.add(end)
                line = pending.take(number, offset)
                if line.oversized or not _is_blank(line.data):
                    yield line
            elif not _is_blank(data := end.removesuffix(b"\r")):  # most lines: complete in one piece
                yield Line(number, offset, data)
            number += 1
            offset += size + 1
        if rest:
            pending.add(rest)
            if pending.size > MAX_SKIPPED_BYTES:
                raise ResultsTooLarge(f"line {number:,} has no end, and the rest was not read")
    last = pending.take(number, offset)
    if last.oversized or not _is_blank(last.data):
        if number > max_lines:
            raise _too_many(max_lines)
        yield last


def _too_many(max_lines: int) -> ResultsTooLarge:
    return ResultsTooLarge(f"more than {max_lines:,} lines came, and the rest was not read")


def _is_blank(data: bytes) -> bool:
    return not data or data.isspace()
