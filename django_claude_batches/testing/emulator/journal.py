"""The emulator's state on disk: one JSON object per line, appended before the matching answer is sent.

A write reaches the kernel before the answer is sent, so it survives a SIGKILL (not a power cut). A call whose line is
incomplete was never answered: that line is dropped when the file is read.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PRIVATE = 0o600


class Journal:
    """Appends to `path`; without one, stores nothing. Thread-safe. Only one emulator at a time may use a file.

    The file contains prompts and answers: only its owner can read it.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        if path is not None and path.exists():
            path.chmod(PRIVATE)
        self._lock = threading.Lock()

    @property
    def kept(self) -> bool:
        return self._path is not None

    def write(self, kind: str, entry: dict[str, Any]) -> None:
        if self._path is None:
            return
        line = json.dumps([kind, entry], separators=(",", ":")).encode() + b"\n"
        with self._lock, open(self._path, "ab", opener=_opened) as file:
            file.write(line)

    def entries(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield what was written, in its order, after truncating the file to its last complete line.

        Raise ValueError if another line cannot be read: the file is not a journal, or was edited.
        """
        if self._path is None or not self._path.exists():
            return
        _drop_torn_line(self._path)
        with self._path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                yield _read(line, at=f"{self._path}, line {number}")


def _opened(path: str, flags: int) -> int:
    return os.open(path, flags, PRIVATE)


def _read(line: bytes, *, at: str) -> tuple[str, dict[str, Any]]:
    try:
        kind, entry = json.loads(line)
    except (ValueError, TypeError):
        raise ValueError(f"{at} is not an entry of an emulator's state file") from None
    return kind, entry


def _drop_torn_line(path: Path) -> None:
    whole = 0
    with path.open("r+b") as file:
        for line in file:
            whole += len(line) if line.endswith(b"\n") else 0
        file.truncate(whole)
