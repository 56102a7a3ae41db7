"""Output of the command: results on standard output, everything else on standard error, all of it printable."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import OutputWrapper

from django_claude_batches.sanitize import printable, printable_lines

CLEAR_LINE = "\r\x1b[K"


class Console:
    """Text for people, or one JSON document for a script; on a terminal, a line that shows how far it is."""

    def __init__(self, stdout: OutputWrapper, stderr: OutputWrapper, *, as_json: bool) -> None:
        self._stdout = stdout
        self._stderr = stderr
        self.as_json = as_json
        self._line = ""

    def say(self, text: str) -> None:
        """Write a line for people; a script that asked for JSON does not see it."""
        if not self.as_json:
            self.clear()
            self._stdout.write(printable(text))
            self._stdout.flush()

    def document(self, data: Any) -> None:
        """Write the one JSON document, if that was asked for."""
        if self.as_json:
            self.clear()
            self._stdout.write(printable_lines(json.dumps(data, ensure_ascii=False, indent=2)))

    def complain(self, text: str) -> None:
        """Write a line about something that went wrong while the command goes on."""
        self.clear()
        self._stderr.write(printable(text))
        self._stderr.flush()

    def progress(self, text: str, *, plain: bool = False) -> None:
        """Replace the progress line. Without a terminal there is none; `plain` writes each new text as a line there."""
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
        """Take the progress line away."""
        if self._line and self._stderr.isatty():
            self._stderr.write(CLEAR_LINE, style_func=str, ending="")
            self._line = ""
