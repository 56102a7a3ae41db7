"""Reading a batch's results: lines into chunks of rows, in memory that hardly grows with the batch."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from django_claude_batches.client import BatchesClient, Line
from django_claude_batches.exceptions import ClaudeBatchesError
from django_claude_batches.models import BatchRequest, BatchResult, MessageBatch, ResultProblem, bulk
from django_claude_batches.models.rows import ResultRow, of_result
from django_claude_batches.services.lines import Glance, glance, problem, read

CHUNK_ROWS = 1000
CHUNK_BYTES = 2_000_000
CHUNK_SECONDS = 60.0
"""Well below the lease, which each chunk renews: lines that trickle in must be stored before it is over."""


Requests = dict[str, tuple[int, int]]
"""The primary key and the position of the request with each custom_id."""


@dataclass(slots=True)
class Found:
    """A line by the custom_id that our row has for it. It is read when it is known that it has to be."""

    line: Line
    glance: Glance | None
    result_type: str
    row: ResultRow | ResultProblem | None = None

    def read(self) -> ResultRow | ResultProblem:
        self.row = self.row or read(self.line, self.glance)
        return self.row


@dataclass(slots=True)
class Chunk:
    """Lines that are stored together."""

    found: dict[str, Found] = field(default_factory=dict)
    problems: list[ResultProblem] = field(default_factory=list)
    size: int = 0
    begun: float = field(default_factory=lambda: time.monotonic())  # noqa: PLW0108 (the clock of the day, not of import)

    @property
    def is_full(self) -> bool:
        many = len(self.found) + len(self.problems) >= CHUNK_ROWS or self.size >= CHUNK_BYTES
        return many or time.monotonic() - self.begun >= CHUNK_SECONDS


@dataclass(frozen=True, slots=True)
class Ready:
    """What one transaction stores: rows in the database's form, and for each its custom_id and the line it was."""

    encoded: bulk.Encoded
    sources: list[tuple[str, Line]]
    problems: list[ResultProblem]


class Download:
    """One reading of a batch's results: how many came, and how often each outcome."""

    def __init__(self, batch: MessageBatch, *, using: str) -> None:
        self._batch, self._using = batch, using
        own = batch.attempts.using(using).filter(remote_id=batch.anthropic_id)
        self._tags = frozenset(own.values_list("tag", flat=True))
        """Those that our lines may bear; none for a batch that was made elsewhere: its ids are kept as they are."""
        self._has_stored = BatchResult.objects.using(using).filter(batch=batch).exists()
        self._encode = bulk.encoder(using)
        self._came = _Came()
        self.types: Counter[str] = Counter()

    @property
    def count(self) -> int:
        """Different custom_ids that came."""
        return self.types.total()

    def read(self, client: BatchesClient) -> Iterator[Ready]:
        """Give what came, also when the connection breaks: the lines before are whole.

        While one chunk is stored, the next is made ready in a thread: the database and Python work at the same time.
        """
        failure: ClaudeBatchesError | None = None
        with ThreadPoolExecutor(max_workers=1) as thread:
            last: Future[Ready] | None = None
            try:
                for chunk in self._chunks(client):
                    upcoming = thread.submit(self._ready, chunk, self._requests(chunk), self._stored(chunk))
                    if last is not None:
                        yield last.result()
                    last = upcoming
            except ClaudeBatchesError as error:
                failure = error
            if last is not None:
                yield last.result()
        if failure is not None:
            raise failure

    def _chunks(self, client: BatchesClient) -> Iterator[Chunk]:
        chunk = Chunk()
        failure: ClaudeBatchesError | None = None
        with client.result_lines(str(self._batch.anthropic_id)) as lines:
            try:
                for line in lines:
                    self._sort_in(line, chunk)
                    if chunk.is_full:
                        yield chunk
                        chunk = Chunk()
            except ClaudeBatchesError as error:
                failure = error
        yield chunk
        if failure is not None:
            raise failure

    def _sort_in(self, line: Line, chunk: Chunk) -> None:
        chunk.size += len(line.data)
        seen = None if line.oversized else glance(line.data)
        row = None if seen else read(line)
        if isinstance(row, ResultProblem):
            chunk.problems.append(row)
            return
        whose = seen or row
        assert whose is not None
        custom_id = whose.custom_id
        if self._tags:
            tag, _, custom_id = custom_id.partition("_")
            if tag not in self._tags:
                why = "The line answers no request of ours: its custom_id lacks the tag."
                chunk.problems.append(problem(line, why))
                return
        earlier = chunk.found.get(custom_id)
        if earlier is not None and isinstance(earlier.read(), ResultRow):
            chunk.problems.append(_repeated(line, custom_id))
            return
        if earlier is not None and isinstance(earlier.row, ResultProblem):
            chunk.problems.append(earlier.row)
        chunk.found[custom_id] = Found(line, seen, whose.result_type, row)

    def _ready(self, chunk: Chunk, requests: Requests, stored: set[str]) -> Ready:
        rows, sources = [], []
        for custom_id, found in chunk.found.items():
            pk, position = requests.get(custom_id, (None, None))
            if self._came.before(custom_id, position):
                chunk.problems.append(_repeated(found.line, custom_id))
                continue
            if custom_id not in stored:
                row = found.read()
                if isinstance(row, ResultProblem):
                    chunk.problems.append(row)
                    continue
                row.custom_id, row.request_id = custom_id, pk
                rows.append(of_result(self._batch.pk, row))
                sources.append((custom_id, found.line))
            self._came.add(custom_id, position)
            self.types[found.result_type] += 1
        return Ready(self._encode(rows), sources, chunk.problems)

    def _requests(self, chunk: Chunk) -> Requests:
        requests = BatchRequest.objects.using(self._using).filter(batch=self._batch, custom_id__in=list(chunk.found))
        known = requests.values_list("custom_id", "pk", "position") if self._tags else []
        return {custom_id: (pk, position) for custom_id, pk, position in known}

    def _stored(self, chunk: Chunk) -> set[str]:
        if not self._has_stored:
            return set()
        results = BatchResult.objects.using(self._using).filter(batch=self._batch, custom_id__in=list(chunk.found))
        return set(results.values_list("custom_id", flat=True))


class _Came:
    """Which lines came before in this download: one byte for each request; the id only where there is no request."""

    def __init__(self) -> None:
        self._positions = bytearray()
        self._ids: set[str] = set()

    def before(self, custom_id: str, position: int | None) -> bool:
        if position is None:
            return custom_id in self._ids
        return position < len(self._positions) and bool(self._positions[position])

    def add(self, custom_id: str, position: int | None) -> None:
        if position is None:
            self._ids.add(custom_id)
            return
        if position >= len(self._positions):
            self._positions.extend(bytes(position + 1 - len(self._positions)))
        self._positions[position] = 1


def _repeated(line: Line, custom_id: str) -> ResultProblem:
    return problem(line, f"custom_id {custom_id} came before in this download: the first line counts.")
