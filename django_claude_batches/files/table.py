"""A table as CSV, of which each row is asked the same question."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from itertools import chain, count
from typing import BinaryIO, NamedTuple

from django_claude_batches.files.prompt import Question
from django_claude_batches.files.row import Row
from django_claude_batches.files.sizes import MAX_RECORD_BYTES

DELIMITERS = ",;\t"
"""What may stand between cells: that which makes the most of the header."""

CUSTOM_ID = "custom_id"
"""The column that names the requests; without it the row of number 2 is `row-2`."""

MOST_NAMED = 30


class _Record(NamedTuple):
    number: int
    cells: list[str]
    problem: str = ""


def read_table(file: BinaryIO, question: Question) -> Iterator[Row]:
    """Give the request about each row below the header, or why there is none.

    Rows are counted as a spreadsheet does, from 1, which is the header; a cell may have several lines. Rows without
    anything in them are counted and skipped. Without a header that has the prompt's columns there is that one problem.
    """
    records = _records(file)
    header = next(records, None)
    if header is None:
        return
    names = [name.strip() for name in header.cells]
    if problem := header.problem or _header_problem(names, question):
        yield Row(header.number, problem=problem)
        return
    for record in records:
        problem = record.problem or _shape_problem(record.cells, names)
        yield Row(record.number, problem=problem) if problem else _row(record, names, question)


def _row(record: _Record, names: list[str], question: Question) -> Row:
    cells = dict(zip(names, record.cells, strict=True))
    custom_id = cells.get(CUSTOM_ID, f"row-{record.number}").strip()
    if not custom_id:
        return Row(record.number, problem=f"its cell of the column {CUSTOM_ID} is empty")
    try:
        return Row(record.number, {"custom_id": custom_id, "params": question.params(cells)})
    except ValueError as error:
        return Row(record.number, problem=str(error))


def _header_problem(names: list[str], question: Question) -> str:
    counts = Counter(names)
    for name in question.prompt.columns:
        if name not in counts:
            known = ", ".join(filter(None, names[:MOST_NAMED])) or "no name at all"
            return f"the prompt names a column {name!r:.80}, and the header has: {known}"
    for name in (*question.prompt.columns, CUSTOM_ID):
        if counts[name] > 1:
            return f"the header has the column {name!r:.80} twice"
    return ""


def _shape_problem(cells: list[str], names: list[str]) -> str:
    if len(cells) == len(names):
        return ""
    return f"it has {len(cells):,} cell{'' if len(cells) == 1 else 's'}, and the header has {len(names):,}"


def _records(file: BinaryIO) -> Iterator[_Record]:
    """Give the records that have anything in them."""
    lines = _Lines(file)
    try:
        first = next(lines, "").removeprefix("\ufeff")  # the mark that spreadsheets put before UTF-8
        # Strict: a quote that is never closed would make one prompt of all the rows behind it.
        reader = csv.reader(chain([first], lines), delimiter=_delimiter(first), strict=True)
    except csv.Error as error:
        yield _Record(1, [], _csv_problem(error))
        return
    for number in count(1):
        try:
            cells = next(reader)
            lines.size = 0
        except StopIteration:
            return
        except csv.Error as error:
            lines.size = 0
            yield _Record(number, [], _csv_problem(error))
            continue
        if any(cell and not cell.isspace() for cell in cells):
            yield _Record(number, cells, _text_problem("".join(cells)))


def _delimiter(header: str) -> str:
    return max(DELIMITERS, key=lambda mark: len(next(csv.reader([header], delimiter=mark), [])))


def _csv_problem(error: csv.Error) -> str:
    if isinstance(error, _TooLarge):
        return str(error)
    if "new-line" in str(error):  # whose advice is for programmers
        return "a line of it ends with CR alone: save the file with LF or CRLF at the ends of its lines"
    return f"not CSV that can be read: {error}"


def _text_problem(text: str) -> str:
    if "\0" in text:
        return 'it holds a NUL, as a file in UTF-16 does: save it as "CSV UTF-8"'
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f'not UTF-8: byte 0x{ord(text[error.start]) & 0xFF:02x}; save the file as "CSV UTF-8"'
    return ""


class _TooLarge(csv.Error):
    pass


class _Lines:
    """The lines of a file, for a csv reader, which goes on behind an error that it meets here.

    `size` is that of the record so far, which may have many lines: who begins another one sets it to 0.

    They end with LF: text of other encodings has none, or others. What is not UTF-8 is kept as halves of characters,
    and found in its record.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        data = self._file.readline(MAX_RECORD_BYTES + 1)
        if not data:
            raise StopIteration
        self.size += len(data)
        if self.size > MAX_RECORD_BYTES:
            while data and not data.endswith(b"\n"):
                data = self._file.readline(MAX_RECORD_BYTES)
            raise _TooLarge(
                f"it has more than {MAX_RECORD_BYTES:,} bytes, and a row has at most so many: a quote may not be closed"
            )
        return data.decode(errors="surrogateescape")
