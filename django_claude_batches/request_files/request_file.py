from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Any, BinaryIO

from django_claude_batches.exceptions import InvalidRequest
from django_claude_batches.request_files.csv_table import read_table
from django_claude_batches.request_files.jsonl import read_lines
from django_claude_batches.request_files.prompt import Question
from django_claude_batches.request_files.row import Row


class BadRow(ValueError):
    """A row that is not a valid request; the text names it."""


class RequestFile:
    """The requests of a file, in constant memory: of JSON lines, or of a table with a prompt.

    Iterating yields items for `create_draft`, once, and raises BadRow at the first invalid row.
    """

    def __init__(self, file: BinaryIO, *, name: str, question: Question | None = None) -> None:
        self.name = name
        self._file = file
        self._question = question
        self._numbers = array("L")

    def rows(self) -> Iterator[Row]:
        """Yield all rows, including invalid ones."""
        return read_lines(self._file) if self._question is None else read_table(self._file, self._question)

    def __iter__(self) -> Iterator[Any]:
        for row in self.rows():
            if row.problem:
                raise BadRow(f"{self.name}, {self.place(row.number)}: {row.problem}")
            self._numbers.append(row.number)
            yield row.request

    def place(self, number: int) -> str:
        return f"{'line' if self._question is None else 'row'} {number}"

    def explain(self, error: InvalidRequest) -> str:
        """Return what `create_draft` refused, with the row's number if it is about one."""
        if error.position is None or error.position >= len(self._numbers):
            return f"{self.name}: {error.reason}"
        named = "" if error.custom_id is None else f" (custom_id {error.custom_id!r:.80})"
        return f"{self.name}, {self.place(self._numbers[error.position])}{named}: {error.reason}"
