"""Check an uploaded file with one record of the largest allowed size, or larger."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator

import django

django.setup()

from django.db import connection  # noqa: E402

from django_claude_batches.models import BatchUpload  # noqa: E402
from django_claude_batches.request_files.record_limits import MAX_DECODED_BYTES, MAX_LINE_BYTES, MAX_RECORD_BYTES  # noqa: E402
from django_claude_batches.services.uploads.prepare import prepare  # noqa: E402
from tests.benchmarks.steps.clock import Clock  # noqa: E402

# Bytes of JSON around a text.
ROOM = 1000


def plain() -> Iterator[bytes]:
    """One request with an ASCII text of the largest allowed size."""
    yield _request("x" * (MAX_LINE_BYTES - ROOM))


def wide() -> Iterator[bytes]:
    """One request with a text of 4-byte characters of the largest allowed size."""
    yield _request("\U0001f600" + "x" * (MAX_DECODED_BYTES // 4 - ROOM))


def values() -> Iterator[bytes]:
    """A line of 20 MB of empty objects, which is refused."""
    yield b'{"params":['
    yield b"{}," * 7_000_000
    yield b"{}]}\n"


def lines() -> Iterator[bytes]:
    """A table with a row of many lines and one cell more than allowed, which is refused."""
    yield b"review,n\n"
    yield b'"\n",' * (MAX_RECORD_BYTES // 4) + b"1\n"


def cells() -> Iterator[bytes]:
    """A table whose header has the largest allowed number of cells."""
    yield b"a," * (MAX_RECORD_BYTES // 2 - ROOM) + b"review\n"
    yield b"x," * (MAX_RECORD_BYTES // 2 - ROOM) + b"warm\n"


def _request(text: str) -> bytes:
    messages = [{"role": "user", "content": text}]
    params = {"model": "claude-haiku-4-5", "max_tokens": 9, "messages": messages}
    return json.dumps({"params": params}, ensure_ascii=False).encode() + b"\n"


FILES = {"plain": plain, "wide": wide, "values": values, "lines": lines, "cells": cells}
TABLES = {"lines", "cells"}


def keep(name: str) -> BatchUpload:
    asked = {"prompt": "{review}", "model": "claude-haiku-4-5", "max_tokens": 9} if name in TABLES else {}
    return BatchUpload.objects.store(FILES[name](), name=name, **asked)


def check(upload: BatchUpload) -> None:
    clock = Clock()
    prepare(upload)
    clock.stop()
    clock.report(upload.row_count, bad=upload.bad_count)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("step", choices=["keep", "check"])
    parser.add_argument("--file", choices=FILES)
    options = parser.parse_args()
    connection.ensure_connection()
    if options.step == "keep":
        keep(options.file)
    else:
        check(BatchUpload.objects.latest("pk"))
