"""A batch's results as a stream of lines, with a check that all of them arrived."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from django_claude_batches.client.jsonl import MAX_LINE_BYTES, Line, split_lines


@dataclass(frozen=True)
class Stream:
    """The bytes of an answer as they arrive, and how HTTP marks their end: a length, the last chunk, or nothing."""

    pieces: Iterator[bytes]
    length: int | None = None
    is_chunked: bool = False


class ResultBody:
    """The lines of an open answer, read once."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()
        self._size = 0
        self._is_read = False

    def __iter__(self) -> Iterator[Line]:
        return split_lines(self._counted(), max_line_bytes=MAX_LINE_BYTES)

    def _counted(self) -> Iterator[bytes]:
        for piece in self._stream.pieces:
            self._hash.update(piece)
            self._size += len(piece)
            yield piece
        self._is_read = True

    @property
    def is_complete(self) -> bool:
        """Return whether it was read to an end that HTTP announced. A closed connection alone may be a truncation."""
        return self._is_read and (self._stream.is_chunked or self._size == self._stream.length)

    @property
    def digest(self) -> str:
        """Return the SHA-256 of what was read, in hexadecimal."""
        return self._hash.hexdigest()
