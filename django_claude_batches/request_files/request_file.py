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
    """A row that is not a valid request; the text names it."""


class RequestFile:
    """The requests of a file, in constant memory: of JSON lines, or of a table with a prompt.

    Iterating yields items for `create_draft`, once, and raises BadRow at the first invalid row.
    """

    def __init__(self, file: BinaryIO, *, name: str, question: Question | None = None) -> None:
        self.name = name
        self._file = file
        self._question = question
        self._table: Table | None = None
        self._numbers = array("L")

    @property
    def header(self) -> list[str]:
        """Return the names of the columns that are kept with the requests; empty if none are. Call it before `rows`."""
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
        """Return the file's name, and the row's number if a row has the problem."""
        if number == OF_THE_FILE:
            return self.name
        return f"{self.name}, {'line' if self._question is None else 'row'} {number}"

    def explain(self, error: InvalidRequest) -> str:
        """Return what `create_draft` refused, with the row's number if it is about one."""
        if error.position is None or error.position >= len(self._numbers):
            return f"{self.name}: {error.reason}"
        named = "" if error.custom_id is None else f" (custom_id {error.custom_id!r:.80})"
        return f"{self.place(self._numbers[error.position])}{named}: {error.reason}"
