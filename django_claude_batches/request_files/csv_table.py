"""Read requests from a CSV table: the same prompt is filled with the cells of each row."""

from __future__ import annotations

import csv
import difflib
import io
import re
import unicodedata
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import count
from typing import BinaryIO, NamedTuple

from django_claude_batches.drafting.json_text import encode_cells
from django_claude_batches.exceptions import InvalidRequest
from django_claude_batches.request_files.naming import Names
from django_claude_batches.request_files.prompt import Question
from django_claude_batches.request_files.record_limits import MAX_RECORD_BYTES
from django_claude_batches.request_files.row import OF_THE_FILE, WORKBOOK, Row, is_workbook

# The delimiters that a person may choose.
DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}

# The column with custom_ids, unless another column names the requests. Without one, the custom_id of row 2 is `row-2`.
CUSTOM_ID = "custom_id"

# Approximate bytes at the beginning of the file from which the delimiter is guessed.
HEAD_BYTES = 64 * 1024

# Maximum columns of a header that an error names.
MAX_NAMED = 30

# A first line that tells Excel the delimiter. Excel does not show this line, so it is not counted as a row.
_SEP = re.compile(rb'"?sep=([!#-/:-@\[-`{-~]|\t)"?[;,]*\r?\n', re.IGNORECASE)


class _Record(NamedTuple):
    number: int
    cells: list[str]
    problem: str = ""


class Table:
    """A CSV table whose header was read: `header` has its cells. `problem` says why the rows cannot be read."""

    def __init__(self, file: BinaryIO, question: Question) -> None:
        self.header: list[str] = []
        self.problem = ""
        self._question = question
        self._names = Names()
        lines = _Lines(file)
        if is_workbook(lines.head[0] if lines.head else b""):
            self.problem = WORKBOOK
            return
        self._records = _records(lines, lines.delimiter(question))
        header = next(self._records, None)
        if header is not None:
            self.header = header.cells
            self._places = _places(header.cells, question)
            self.problem = header.problem or self._places.problem or _size_problem(header.cells, question)

    @property
    def is_kept(self) -> bool:
        """Return whether the cells of the rows are kept with their requests."""
        return self._question.keep_cells and not self.problem

    def rows(self) -> Iterator[Row]:
        """Yield each row below the header, with its request or its problem.

        Rows are counted as in a spreadsheet: the header is row 1, and a cell may have several lines. Empty rows are
        counted and skipped. If the header lacks columns of the prompt, yield only that problem.
        """
        if self.problem:
            yield Row(OF_THE_FILE, problem=self.problem)
            return
        for record in self._records if self.header else ():
            problem = record.problem or _shape_problem(record.cells, self.header)
            yield Row(record.number, problem=problem) if problem else self._row(record)

    def _row(self, record: _Record) -> Row:
        cells = {name: record.cells[place] for name, place in self._places.at.items()}
        custom_id = self._custom_id(cells, record.number)
        if not custom_id:
            return Row(record.number, problem=f"its cell in the column {CUSTOM_ID} is empty")
        try:
            request = {"custom_id": custom_id, "params": self._question.params(cells)}
        except ValueError as error:
            return Row(record.number, problem=str(error))
        return Row(record.number, {**request, "cells": record.cells} if self._question.keep_cells else request)

    def _custom_id(self, cells: dict[str, str], number: int) -> str:
        if self._question.name_by:
            return self._names.take(cells[self._question.name_by], number)
        return cells.get(CUSTOM_ID, f"row-{number}").strip()


def _size_problem(header: list[str], question: Question) -> str:
    """Return why the header cannot be kept with the batch; empty if it can, or if cells are not kept."""
    try:
        if question.keep_cells:
            encode_cells(header)
    except InvalidRequest as error:
        return f"the header cannot be kept: {error.reason}"
    return ""


class _Places(NamedTuple):
    """The indexes of the columns that are used, or what is wrong with the header."""

    at: dict[str, int]
    problem: str = ""


def _places(header: list[str], question: Question) -> _Places:
    names = [name.strip() for name in header]
    required = (*question.prompt.columns, question.name_by) if question.name_by else question.prompt.columns
    wanted = dict.fromkeys((*required, CUSTOM_ID))
    exact, folded = _index(names, set(wanted)), _index(map(_folded, names), set(map(_folded, wanted)))
    at: dict[str, int] = {}
    for name in wanted:
        found = exact.get(name) or folded.get(_folded(name), [])
        if len(found) > 1:
            return _Places(at, f"the header has the column {name!r:.80} twice")
        if found:
            at[name] = found[0]
        elif name in required:
            known = list(filter(None, names[:MAX_NAMED]))
            near = difflib.get_close_matches(name[:80], [one[:80] for one in known], n=1)
            meant = f" (did you mean {near[0]!r}?)" if near else ""
            has = ", ".join(known) or "no name at all"
            who = "the prompt names" if name in question.prompt.columns else "the requests are to be named by"
            return _Places(at, f"{who} a column {name!r:.80}{meant}, and the header has: {has}")
    return _Places(at)


def _index(names: Iterable[str], wanted: set[str]) -> dict[str, list[int]]:
    """Return the indexes of the wanted names only: a header may have two million names."""
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        if name in wanted:
            places.setdefault(name, []).append(place)
    return places


def _folded(name: str) -> str:
    """Return a name for comparison that ignores case, kinds of white space, and Unicode forms of accents."""
    return unicodedata.normalize("NFC", " ".join(name.split()).casefold())


def _shape_problem(cells: list[str], header: list[str]) -> str:
    if len(cells) == len(header):
        return ""
    return f"it has {len(cells):,} cell{'' if len(cells) == 1 else 's'}, and the header has {len(header):,}"


def _records(lines: _Lines, delimiter: str) -> Iterator[_Record]:
    """Yield the records that are not empty, with their numbers from 1."""
    # Strict, because otherwise all rows after an unclosed quote would become one prompt.
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    for number in count(1):
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield _Record(number, [], _csv_problem(error))
            continue
        finally:
            lines.size = 0
        if any(cell and not cell.isspace() for cell in cells):
            yield _Record(number, cells, _text_problem("".join(cells)))


def _fit(records: list[_Record], question: Question) -> tuple[bool, float, int]:
    """Return how well the records fit that were read with one delimiter, to be compared with those of other delimiters.

    That is, in this order: whether the header has the prompt's columns, the share of rows with as many cells as the
    header, and the number of cells.
    """
    if not records or records[0].problem:
        return False, 0, 0
    header = records[0].cells
    is_asked = not _places(header, question).problem
    same = sum(len(record.cells) == len(header) for record in records) / len(records)
    # With a delimiter that does not occur, all rows have one cell. That counts only if the header has the columns.
    return is_asked, same if is_asked or len(header) > 1 else 0, len(header)


def _csv_problem(error: csv.Error) -> str:
    if isinstance(error, _TooLarge):
        return str(error)
    if "new-line" in str(error):  # the advice in its text is for programmers
        return "a line ends with CR only: save the file with LF or CRLF line endings"
    return f"not CSV that can be read: {error}"


def _text_problem(text: str) -> str:
    if "\0" in text:
        return 'it contains a NUL character, as files in UTF-16 do: save the file as "CSV UTF-8"'
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f'not UTF-8: byte 0x{ord(text[error.start]) & 0xFF:02x}; save the file as "CSV UTF-8"'
    return ""


class _TooLarge(csv.Error):
    pass


class _Lines:
    """The lines of a file for a csv reader, which can continue after an error that is raised here.

    `head` has the first lines, which are read at once. `size` is the number of bytes of the current record, which may
    have many lines; the caller sets it to 0 when a record begins.

    Lines end with LF. Invalid UTF-8 is decoded as surrogates and reported for its record.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = 0
        self.head: deque[bytes] = deque()
        read = 0
        while read < HEAD_BYTES and (data := file.readline(MAX_RECORD_BYTES + 1)):
            read += len(data)
            self.head.append(data)
        if self.head:
            self.head[0] = self.head[0].removeprefix(b"\xef\xbb\xbf")  # a byte order mark, as spreadsheets write

    def delimiter(self, question: Question) -> str:
        """Return the delimiter, and skip a line that names it. Call this before any line is read."""
        said = _SEP.fullmatch(self.head[0]) if self.head else None
        if said:
            self.head.popleft()
        if question.delimiter:
            return DELIMITERS[question.delimiter]
        if said:
            return said[1].decode()
        head = b"".join(self.head)[:HEAD_BYTES]  # one line may have 4 MB, and its cells take fifty times as much
        return max(DELIMITERS.values(), key=lambda mark: _fit(list(_records(_Lines(io.BytesIO(head)), mark)), question))

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        data = self.head.popleft() if self.head else self._file.readline(MAX_RECORD_BYTES + 1)
        if not data:
            raise StopIteration
        self.size += len(data)
        if self.size > MAX_RECORD_BYTES:
            while data and not data.endswith(b"\n"):
                data = self._file.readline(MAX_RECORD_BYTES)
            raise _TooLarge(
                f"it has more than {MAX_RECORD_BYTES:,} bytes, the maximum for a row: a quote may not be closed"
            )
        return data.decode(errors="surrogateescape")
