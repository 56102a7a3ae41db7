"""The export formats: JSONL (lossless, for programs) and CSV (for spreadsheets). Constant memory."""

from __future__ import annotations

import csv
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from itertools import chain
from operator import add
from typing import Any, ClassVar

from django.db.models import Exists, F, OuterRef, Q, TextField, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Cast, Coalesce, Length

from django_claude_batches.db.keyset import sized_pages
from django_claude_batches.export import cells, csv_columns, jsonl_line
from django_claude_batches.models.large_columns import PARAMS
from django_claude_batches.models.request import BatchRequest, BatchRequestQuerySet
from django_claude_batches.models.result import BatchResultQuerySet

# Approximate bytes of each chunk that an export yields.
CHUNK_BYTES = 64 * 1024

# Without it, Excel decodes the file with the machine's code page instead of UTF-8.
BOM = b"\xef\xbb\xbf"

# Stored size, in bytes or characters, of each column that may be large.
LARGE_COLUMN_SIZES: dict[str, Combinable] = {
    "message_text": Coalesce(Length("message_text"), 0),
    "raw": Coalesce(Length("raw"), 0),
    "request__params_text": Coalesce(F("request__params_bytes"), 0),
    "request__cells_text": Coalesce(Length("request__cells_text"), 0),
}


# The lookup from a result to its request, and the columns that both have.
OF_REQUEST = "request__"
SHARED = ("batch_id", "custom_id")

# The result type of a request without a result. The API has no such type.
MISSING = "missing"


class Export(ABC):
    """Iterate over the bytes of a file with the results, in chunks. Each result is read once, in constant memory.

    The order is by batch, then by position of the request; results without a request follow, by custom_id. The order of
    the queryset `results` is ignored, and it must not be sliced.
    """

    suffix: ClassVar[str]
    content_type: ClassVar[str]

    def __init__(self, results: BatchResultQuerySet) -> None:
        self._results = results
        # Number of rows that were written so far.
        self.rows = 0
        # Number of results that were left out because a purge removed what their line needs.
        self.left_out = 0

    def __iter__(self) -> Iterator[bytes]:
        chunk: list[bytes] = []
        size = 0
        for line in self._lines():
            chunk.append(line)
            size += len(line)
            if size >= CHUNK_BYTES:
                yield b"".join(chunk)
                chunk, size = [], 0
        if chunk:
            yield b"".join(chunk)

    @abstractmethod
    def _lines(self) -> Iterator[bytes]: ...


class JsonlExport(Export):
    """JSON Lines: one line for each result as the API sent it, with the custom_id of the stored row.

    The line is the same except for the order of keys and, on PostgreSQL, the spaces between them. If the columns of the
    row cannot express the whole line, the stored original line is written. Characters that end a line in some readers
    are escaped.

    A result whose message was purged is left out, and counted in `left_out`. In a batch that was purged, so is any
    result without a message, because it is no longer known whether it had an original line.
    """

    suffix = "jsonl"
    content_type = "application/x-jsonl"

    def _lines(self) -> Iterator[bytes]:
        columns = ("custom_id", "result_type", "message_text", "raw", "error_type", "error_message")
        for row in _read(self._results, _batches(self._results), [*columns, "error_request_id", "is_purged"]):
            line = jsonl_line.line(row)
            if line is None:
                self.left_out += 1
            else:
                self.rows += 1
                yield line + b"\n"


class CsvExport(Export):
    """CSV for spreadsheets, in UTF-8 with a byte order mark. `columns` are names of `cells.COLUMNS`.

    The name `cells` includes the columns of the uploaded tables from which the requests were made, and `output` the
    members of answers that a JSON Schema defines. `missing` are requests without a result, which follow the results
    with the result type `missing`. An apostrophe is written before a text that a spreadsheet would run as a formula,
    unless `escape_formulas` is False.
    """

    suffix = "csv"
    content_type = "text/csv; charset=utf-8"

    def __init__(
        self,
        results: BatchResultQuerySet,
        columns: Iterable[str] = cells.DEFAULT_COLUMNS,
        *,
        missing: BatchRequestQuerySet | None = None,
        escape_formulas: bool = True,
    ) -> None:
        """Raise ValueError for an unknown column."""
        super().__init__(results)
        self._names = list(columns)
        self._missing = missing
        self._escape = cells.escape_formula if escape_formulas else lambda cell: cell
        if unknown := [name for name in self._names if name not in cells.COLUMNS]:
            raise ValueError(f"unknown column {unknown[0]!r}: the columns are {', '.join(cells.COLUMNS)}")

    def _lines(self) -> Iterator[bytes]:
        writer = csv.writer(_Echo())
        batches = _batches(self._results)
        absent = [] if self._missing is None else _batches(self._missing)
        blocks = csv_columns.blocks(self._names, sorted({*batches, *absent}))
        yield BOM + writer.writerow(self._escape(title) for block in blocks for title in block.titles).encode()
        needs = list(dict.fromkeys(name for block in blocks for name in block.needs))
        rows = _read(self._results, batches, needs)
        if self._missing is not None:
            rows = chain(rows, _read_missing(self._missing, absent, needs))
        for row in rows:
            self.rows += 1
            yield writer.writerow(self._escape(cell) for block in blocks for cell in block.values(row)).encode()


class _Echo:
    """A file for a csv writer. `writerow` returns what `write` returns: the line."""

    def write(self, text: str) -> str:
        return text


FORMATS: dict[str, type[Export]] = {kind.suffix: kind for kind in (JsonlExport, CsvExport)}


def _batches(rows: BatchResultQuerySet | BatchRequestQuerySet) -> list[int]:
    """Return the primary keys of the rows' batches, in order."""
    return sorted(rows.order_by().values_list("batch_id", flat=True).distinct())


def _read(results: BatchResultQuerySet, batches: Iterable[int], names: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield these columns of the results. JSON is read as text and not decoded."""
    names = list(names)
    size: Combinable = reduce(add, (LARGE_COLUMN_SIZES[name] for name in names if name in LARGE_COLUMN_SIZES), Value(0))
    rows = results.order_by().annotate(
        message_text=Cast("message", TextField()), is_purged=Q(batch__result_purge_began_at__isnull=False)
    )
    for batch_id in batches:
        of_batch = rows.filter(batch=batch_id)
        own = BatchRequest.objects.filter(batch=batch_id, pk=OuterRef("request_id"))
        # Two queries, each ordered by an index. The second reads results without a request: those of an adopted batch,
        # and those whose request was removed.
        for page in sized_pages(of_batch.filter(request__batch=batch_id), "request__position", size):
            yield from page.values(*names)
        for page in sized_pages(of_batch.exclude(Exists(own)), "custom_id", size):
            yield from page.values(*names)


def _read_missing(
    requests: BatchRequestQuerySet, batches: Iterable[int], names: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Yield the same columns of requests without a result; columns that only a result has are None."""
    shared = {name: name.removeprefix(OF_REQUEST) for name in names if name.startswith(OF_REQUEST) or name in SHARED}
    nothing = {**dict.fromkeys(names), "result_type": MISSING}
    for batch_id in batches:
        for page in sized_pages(requests.filter(batch=batch_id), "position", PARAMS.size):
            for row in page.values_list(*shared.values()):
                yield {**nothing, **dict(zip(shared, row, strict=True))}
