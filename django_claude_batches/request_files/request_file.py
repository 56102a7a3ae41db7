"""Read all requests of a file, in either format."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Any, BinaryIO

from django_claude_batches.exceptions import InvalidRequest
from django_claude_batches.request_files.csv_table import Table
from django_claude_batches.request_files.jsonl import read_lines
from django_claude_batches.request_files.prompt import Question
from django_claude_batches.request_files.row import OF_THE_FILE, Row


class BadRow(ValueError):
    """A row is not a valid request. The text has the file, the row's number and the problem."""


class RequestFile:
    """The requests of a file, in constant memory: JSON Lines or, with a `question`, a CSV table.

    Iterating yields items for `create_draft`, and raises BadRow for the first invalid row. The file is read once.
    """

    def __init__(self, file: BinaryIO, *, name: str, question: Question | None = None) -> None:
        self.name = name
        self._file = file
        self._question = question
        self._table: Table | None = None
        self._numbers = array("L")

    @property
    def header(self) -> list[str]:
        """Return the names of the columns that are kept with the requests, if any. Use it before `rows`."""
        table = self._read_header()
        return table.header if table is not None and table.is_kept else []

    def rows(self) -> Iterator[Row]:
        """Yield all rows, including invalid ones."""
        table = self._read_header()
        return read_lines(self._file) if table is None else table.rows()

    def _read_header(self) -> Table | None:
        if self._table is None and self._question is not None:
            self._table = Table(self._file, self._question)
        return self._table

    def __iter__(self) -> Iterator[Any]:
        for row in self.rows():
            if row.problem:
                raise BadRow(f"{self.place(row.number)}: {row.problem}")
            self._numbers.append(row.number)
            yield row.request

    def place(self, number: int) -> str:
        """Return the file's name, with the number of the line or row unless the problem is that of the whole file."""
        if number == OF_THE_FILE:
            return self.name
        return f"{self.name}, {'line' if self._question is None else 'row'} {number}"

    def explain(self, error: InvalidRequest) -> str:
        """Return an error of `create_draft` as text, with the file's name and, if it is about a row, its number."""
        if error.position is None or error.position >= len(self._numbers):
            return f"{self.name}: {error.reason}"
        named = "" if error.custom_id is None else f" (custom_id {error.custom_id!r:.80})"
        return f"{self.place(self._numbers[error.position])}{named}: {error.reason}"
