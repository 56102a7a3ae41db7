"""Send the results, and record which lines were sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from .lines import Line

# Result lines are sent in pieces of about this size: one write for each line would be slow.
PIECE_BYTES = 65_536


@dataclass
class Download:
    """One answer to a results call: the lines that were sent, and whether all of them were."""

    batch_id: str
    workspace_id: str
    at: datetime
    lines: list[Line] = field(default_factory=list)
    complete: bool = False


@dataclass(frozen=True)
class Outgoing:
    """The lines to send, in pieces. It can be iterated once; `ended` is called after the last piece.

    `tail` is the part of a cut line that is sent. `whole` is False if a fault omits some of the lines.
    """

    lines: list[Line]
    download: Download
    ended: Callable[[Download], None]
    tail: bytes = b""
    whole: bool = True

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._pieces()
            self.download.complete = self.whole
        finally:
            self.ended(self.download)

    def _pieces(self) -> Iterator[bytes]:
        """Yield the lines in pieces, recording each as sent when the server asks for the next."""
        piece: list[Line] = []
        size = 0
        for line in self.lines:
            piece.append(line)
            size += len(line.raw)
            if size >= PIECE_BYTES:
                yield b"".join(line.raw for line in piece)
                self.download.lines.extend(piece)
                piece, size = [], 0
        last = b"".join(line.raw for line in piece) + self.tail
        if last:
            yield last
        self.download.lines.extend(piece)
