"""The body of an answer: read up to a bound, and unpacked once where it comes as gzip. Pure: it knows no HTTP.

Only `identity` is asked for. Whether a body is gzip is told by its first bytes: what its headers say may be wrong.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain

READ_BYTES = 256 * 1024
"""Bytes that are read, or unpacked, at a time. `iter_lines` asks for 512, which is quadratic in a line's length."""

MAX_OBJECT_BYTES = 1024 * 1024
"""Bytes of an answer that is one object: a batch (600 bytes, docs/reference/wire.md §3.1), a deletion or an error."""

MAX_LISTING_BYTES = 4 * 1024 * 1024
"""Bytes of a page of batches: 4 kB for each of 1,000, seven times what a batch has today.

Not more: parsed, 4 MB that are all tiny objects take 116 MB of memory.
"""

GZIP_MAGIC = b"\x1f\x8b"

MAX_MEMBERS = 100
"""Parts of one gzip that are unpacked: each copies the rest, so a million empty ones would take minutes."""


def collect(pieces: Iterable[bytes], body: bytearray, longest: int) -> None:
    """Append the pieces to `body` until they end, or it has more than `longest` bytes."""
    for piece in pieces:
        body += piece
        if len(body) > longest:
            return


def unpacked(body: bytes | bytearray, longest: int) -> bytes:
    """Return a body without its gzip, if it has one, but no more than the first `longest` bytes and one.

    Of a gzip that is cut or broken, what comes before; if that is nothing, the body as it is.
    """
    plain, rest = bytearray(), bytes(body)
    for _member in range(MAX_MEMBERS):
        if not rest.startswith(GZIP_MAGIC) or len(plain) > longest:
            break
        decoder = _decoder()
        try:
            plain += decoder.decompress(rest, longest + 1 - len(plain))
        except zlib.error:
            break
        rest = decoder.unused_data
    return bytes(plain or body[: longest + 1])


def unpacked_pieces(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Give out a stream without its gzip, if it has one, in pieces of at most `READ_BYTES` however small it came.

    Raise `gzip.BadGzipFile`, an OSError, after what could be unpacked of one that is cut or broken.
    """
    first = next(pieces, b"")
    if not first.startswith(GZIP_MAGIC[:1]):  # no line of JSON begins so
        yield first
        yield from pieces
        return
    decoder = _decoder()
    for piece in chain([first], pieces):
        rest, is_full = piece, False
        while rest or is_full:
            if decoder.eof:
                decoder = _decoder()
            try:
                plain = decoder.decompress(rest, READ_BYTES)
            except zlib.error as error:
                raise gzip.BadGzipFile(f"its gzip is broken: {error}") from None
            yield plain
            rest = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
            is_full = len(plain) == READ_BYTES and not decoder.eof  # zlib may hold more, with all of its input taken
    if not decoder.eof:
        raise gzip.BadGzipFile("its gzip is cut")


def _decoder() -> zlib._Decompress:
    return zlib.decompressobj(zlib.MAX_WBITS | 16)
