"""Faults that make answers huge or expensive to read: a gzip bomb, a flood of lines, markup, a long reason phrase."""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import replace

from django_claude_batches.testing.emulator.downloads import Outgoing
from django_claude_batches.testing.emulator.http_messages import Response
from django_claude_batches.testing.emulator.lines import Line

from .context import Turn
from .results import on_lines

# Bytes of a bomb that are compressed once, by a factor of a thousand, and repeated.
BLOCK = 1_000_000


def bomb(turn: Turn, *, size: int = 1_000_000) -> Response:
    """Send an unrequested gzip body with `size` bytes of white space after it; after results, blank lines."""
    answer = turn.answer()
    headers = answer.headers | {"content-encoding": "gzip"}
    if isinstance(answer.body, Outgoing):
        packed = gzip_bomb(b"".join(line.raw for line in answer.body.lines), size, b"\n")
        return replace(answer, headers=headers, body=replace(answer.body, lines=[Line("", "", packed)]))
    assert isinstance(answer.body, bytes)
    return replace(answer, headers=headers, body=gzip_bomb(answer.body, size))


def gzip_bomb(head: bytes, size: int, filling: bytes = b" ") -> bytes:
    """Compress `head` and `size` times the byte `filling`, in a thousandth of the time and memory."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    whole, rest = divmod(size, BLOCK)
    block = filling * BLOCK
    parts = [packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)]
    parts += [packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)] * whole  # after a full flush all are alike
    parts.append(packer.compress(block[:rest]) + packer.flush())
    checksum = zlib.crc32(head)
    for _ in range(whole):
        checksum = zlib.crc32(block, checksum)
    end = struct.pack("<II", zlib.crc32(block[:rest], checksum), (len(head) + size) % 2**32)
    return b"\x1f\x8b\x08\0\0\0\0\0\x02\xff" + b"".join(parts) + end


def markup(turn: Turn, *, size: int = 1_000_000) -> Response:
    """Send a body of `size` times "<"."""
    answer = turn.answer()
    return replace(answer, body=b"<" * size)


@on_lines
def flood(lines: list[Line], *, size: int = 1_000_000) -> list[Line]:
    """Send the lines of the results, and after them `size` bytes of lines with custom_ids that were never sent."""
    surplus: list[Line] = []
    while size > 0:
        name = f"surplus-{len(surplus)}"
        raw = json.dumps({"custom_id": name, "result": {"type": "canceled"}}).encode() + b"\n"
        surplus.append(Line(name, "", raw))
        size -= len(raw)
    return [*lines, *surplus]


def another_reason(turn: Turn, *, reason: str) -> Response:
    """Replace the reason phrase of the status line."""
    return replace(turn.answer(), reason=reason)
