"""Output of the command: results on standard output, everything else on standard error, all of it printable."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import OutputWrapper

from django_claude_batches.sanitize import printable, printable_lines

CLEAR_LINE = "\r\x1b[K"


class Console:
    """Text for people, or one JSON document for a script; on a terminal, a progress line."""

    def __init__(self, stdout: OutputWrapper, stderr: OutputWrapper, *, as_json: bool) -> None:
        self._stdout = stdout
        self._stderr = stderr
        self.as_json = as_json
        self._line = ""

    def say(self, text: str) -> None:
        """Write a line for people; with `--json` nothing is written."""
        if not self.as_json:
            self.clear()
            self._stdout.write(printable(text))
            self._stdout.flush()

    def document(self, data: Any) -> None:
        """Write the JSON document, with `--json`."""
        if self.as_json:
            self.clear()
            self._stdout.write(printable_lines(json.dumps(data, ensure_ascii=False, indent=2)))

    def complain(self, text: str) -> None:
        """Write a line about an error after which the command continues."""
        self.clear()
        self._stderr.write(printable(text))
        self._stderr.flush()

    def progress(self, text: str, *, plain: bool = False) -> None:
        """Replace the progress line. Without a terminal there is none; then `plain` writes each new text as a line."""
        text = printable(text)
        if text == self._line:
            return
        if self._stderr.isatty():
            self._stderr.write(f"{CLEAR_LINE}{text}", style_func=str, ending="")
            self._line = text
        elif plain:
            self._stderr.write(text, style_func=str)
            self._line = text
        self._stderr.flush()

    def clear(self) -> None:
        """Remove the progress line."""
        if self._line and self._stderr.isatty():
            self._stderr.write(CLEAR_LINE, style_func=str, ending="")
            self._line = ""
