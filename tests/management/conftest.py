from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command


@dataclass
class Ran:
    """What `manage.py claude_batches …` printed, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


Manage = Callable[..., Ran]


@pytest.fixture
def manage() -> Manage:
    def run(*arguments: object, terminal: bool = False) -> Ran:
        out, err = StringIO(), StringIO()
        err.isatty = lambda: terminal  # type: ignore[method-assign]
        code, message = 0, ""
        try:
            call_command("claude_batches", *map(str, arguments), stdout=out, stderr=err, no_color=True)
        except CommandError as error:
            code, message = error.returncode, str(error)
        return Ran(code, out.getvalue(), err.getvalue() + message)

    return run


@pytest.fixture
def jsonl(tmp_path: Path) -> Callable[[bytes | str], Path]:
    """Write a file of requests."""

    def write(content: bytes | str) -> Path:
        path = tmp_path / "requests.jsonl"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write
