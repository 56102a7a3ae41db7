"""Write results to a file so that a failed export leaves no partial one."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

from django.core.management.base import CommandError

from django_claude_batches.sanitize import printable_lines

STDOUT = "-"


def written(name: str, *, replace: bool) -> AbstractContextManager[BinaryIO]:
    """Open a file for bytes; `-` is standard output.

    A file gets its name when it is complete, and is removed if writing fails. Raise CommandError if a file of that name
    exists, unless it may be replaced, and if the reader of standard output has closed it.
    """
    return _standard_output() if name == STDOUT else _file(Path(name), replace=replace)


@contextmanager
def _file(path: Path, *, replace: bool) -> Iterator[BinaryIO]:
    _refuse_to_replace(path, replace=replace)
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        # Readable by its owner only, with any umask: it contains answers.
        with open(part, "xb", opener=partial(os.open, mode=0o600)) as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        _refuse_to_replace(path, replace=replace)  # it may have been created since
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _refuse_to_replace(path: Path, *, replace: bool) -> None:
    if path.is_dir():
        raise CommandError(f"{path} is a directory. Nothing was written.")
    if path.exists() and not replace:
        raise CommandError(f"{path} is there already. Nothing was written: --force replaces it.")


class _Terminal:
    """Standard output that is a terminal: makes printable what is written unchanged to files and pipes."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def write(self, data: bytes) -> int:
        return self._out.write(printable_lines(data.decode(errors="replace").replace("\r\n", "\n")).encode())


@contextmanager
def _standard_output() -> Iterator[BinaryIO]:
    out = sys.stdout.buffer
    gone = False
    try:
        yield cast("BinaryIO", _Terminal(out)) if sys.stdout.isatty() else out
        out.flush()
    except BrokenPipeError:
        gone = True
    if gone:
        # Otherwise Python would flush its buffer at exit, and fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise CommandError("Standard output was closed: the export ended early.")
