"""Read a response's body up to a bound, and decompress gzip. Knows no HTTP.

Requests ask only for `identity`. Whether a body is gzip is determined by its first bytes: its headers may be wrong.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain

# Bytes that are read, or decompressed, at a time. `iter_lines` reads 512, which is quadratic in a line's length.
READ_BYTES = 256 * 1024

# Bytes of an answer that is one object: a batch (600 bytes, docs/reference/wire.md §3.1), a deletion or an error.
MAX_OBJECT_BYTES = 1024 * 1024

# Bytes of a page of batches: 4 kB for each of 1,000, seven times the size of a batch today.
# Not more: 4 MB of tiny objects take 116 MB of memory when parsed.
MAX_LISTING_BYTES = 4 * 1024 * 1024

GZIP_MAGIC = b"\x1f\x8b"

# Members of one gzip that are decompressed: each copies the rest, so a million empty ones would take minutes.
MAX_MEMBERS = 100


def collect(pieces: Iterable[bytes], body: bytearray, longest: int) -> None:
    """Append the pieces to `body` until they end, or it has more than `longest` bytes."""
    for piece in pieces:
        body += piece
        if len(body) > longest:
            return


def unpacked(body: bytes | bytearray, longest: int) -> bytes:
    """Return the body decompressed if it is gzip, but at most the first `longest` bytes and one more.

    Of a truncated or broken gzip, return what comes before; if that is nothing, the body as it is.
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
    """Yield a stream, decompressed if it is gzip, in pieces of at most `READ_BYTES` even if it is highly compressed.

    Raise `gzip.BadGzipFile`, an OSError, after what could be decompressed of a truncated or broken one.
    """
    first = next(pieces, b"")
    if not first.startswith(GZIP_MAGIC[:1]):  # no line of JSON begins with this
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
            # zlib may hold more output although its input is consumed
            is_full = len(plain) == READ_BYTES and not decoder.eof
    if not decoder.eof:
        raise gzip.BadGzipFile("its gzip is cut")


def _decoder() -> zlib._Decompress:
    return zlib.decompressobj(zlib.MAX_WBITS | 16)
