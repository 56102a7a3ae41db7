"""Download the results of a batch: lines become rows, in memory that hardly grows with the batch."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from django_claude_batches.client import BatchesClient, Line
from django_claude_batches.client.jsonl import max_lines
from django_claude_batches.db.postgres_copy import Values
from django_claude_batches.exceptions import APIConnectionError, ResultsTooLarge
from django_claude_batches.models import MessageBatch, ResultProblem
from django_claude_batches.models.bulk_rows import ResultRow, result_values
from django_claude_batches.pricing import PriceTable
from django_claude_batches.services.ingestion.cost import cost
from django_claude_batches.services.ingestion.custom_id_index import EXPECTED, RECEIVED, CustomIdIndex
from django_claude_batches.services.ingestion.fast_path import MessageTemplates, match_start
from django_claude_batches.services.ingestion.result_lines import excerpt, problem, read
from django_claude_batches.wire import MAX_REQUESTS

CHUNK_ROWS = 4000
CHUNK_BYTES = 8_000_000
CHUNK_SECONDS = 60.0
"""Well below the lease, which each chunk renews, also one without lines: a long line may take longer to come."""


MAX_PROBLEMS = 200
"""Problem lines of a download that are kept; the others are counted."""


@dataclass(slots=True)
class Chunk:
    """The rows of one transaction, with counts of the lines that were read."""

    lines: list[Line] = field(default_factory=list)
    size: int = 0
    begun: float = field(default_factory=lambda: time.monotonic())  # noqa: PLW0108 (the clock of the day, not of import)
    made: list[tuple[str, Line]] = field(default_factory=list)
    """The custom_id and the line of each row."""
    problems: list[ResultProblem] = field(default_factory=list)

    def add(self, line: Line) -> None:
        self.lines.append(line)
        self.size += len(line.data)

    @property
    def is_full(self) -> bool:
        return len(self.lines) >= CHUNK_ROWS or self.size >= CHUNK_BYTES or self.is_old

    @property
    def is_old(self) -> bool:
        return time.monotonic() - self.begun >= CHUNK_SECONDS


class Download:
    """One download of a batch's results, with the number of results and the counts by type."""

    def __init__(self, batch: MessageBatch, client: BatchesClient, prices: PriceTable, *, using: str) -> None:
        self._batch, self._client, self._prices = batch, client, prices
        self.redacted = client.redacted
        own = batch.attempts.using(using).filter(remote_id=batch.anthropic_id)
        self._tags = frozenset(tag.encode() for tag in own.values_list("tag", flat=True))
        """Those that our lines may bear; none for a batch that was made elsewhere: its ids are kept as they are."""
        self._custom_ids = CustomIdIndex(batch, using=using)
        self._templates = MessageTemplates()
        self._chunk = Chunk()
        self.types: Counter[str] = Counter()
        self.problems = 0
        self.surplus = ""
        """Why the rest was not read; empty where all was."""

    @property
    def count(self) -> int:
        """Number of distinct custom_ids received."""
        return self.types.total()

    def run(self, store: Callable[[Chunk], object]) -> None:
        """Read the lines, and call `store` with each chunk, also with the last one if the connection breaks.

        A chunk is stored after CHUNK_SECONDS even if a line is incomplete or the chunk is empty. An exception of
        `store` ends the download.

        The number of lines is limited by the batch's requests; for a batch made elsewhere, whose number of requests
        only the server says, by the largest number that any batch may have.
        """

        def close(*, only_old: bool = False) -> None:
            if not only_old or self._chunk.is_old:
                chunk, self._chunk = self._chunk, Chunk()
                store(chunk)

        failure: APIConnectionError | None = None
        on_read = partial(close, only_old=True)
        bound = max_lines(self._batch.request_count if self._tags else MAX_REQUESTS)
        remote_id = str(self._batch.anthropic_id)
        with self._client.result_lines(remote_id, max_lines=bound, on_read=on_read) as lines:
            try:
                for line in lines:
                    self._chunk.add(line)
                    if self._chunk.is_full:
                        close()
            except ResultsTooLarge as error:
                self.surplus = str(error)
            except APIConnectionError as error:
                failure = error
        close()
        if failure is not None:
            raise failure

    def rows(self, chunk: Chunk) -> Iterator[Values]:
        """Yield the rows of a chunk's lines that are not stored yet, and record the problems. No queries."""
        for line in chunk.lines:
            found = self._row(line)
            if isinstance(found, ResultRow):
                found.cost_usd = cost(found, self._prices)
                chunk.made.append((found.custom_id, line))
                yield result_values(self._batch.pk, found)
            elif found is not None:
                self.add_problem(chunk, line, found.reason)

    def add_problem(self, chunk: Chunk, line: Line, reason: str) -> None:
        """Count a problem line, and keep it with its chunk unless there are many already."""
        self.problems += 1
        if self.problems <= MAX_PROBLEMS:
            kept = problem(line, self.redacted(reason))
            kept.excerpt = excerpt(line, self.redacted)
            chunk.problems.append(kept)

    def _row(self, line: Line) -> ResultRow | ResultProblem | None:
        """Return the line's row or its problem; None if its beginning shows that its row is already stored."""
        found = None
        seen = None if line.oversized else match_start(line.data)
        if seen is not None:
            custom_id, result_type = seen[1], seen[2].decode()
        else:
            found = read(line, None, self._templates)
            if isinstance(found, ResultProblem):
                return found
            custom_id, result_type = found.custom_id.encode(), found.result_type
        if self._tags:
            tag, _, custom_id = custom_id.partition(b"_")
            if tag not in self._tags:
                return problem(line, "The line answers no request of ours: its custom_id lacks the tag.")
        number = self._custom_ids.number(custom_id)
        state = self._custom_ids.states[number]
        row = None
        if state == RECEIVED:
            return problem(line, f"custom_id {custom_id.decode()} came before in this download: the first line counts.")
        if state == EXPECTED:
            found = found or read(line, seen, self._templates)
            if isinstance(found, ResultProblem):
                return found
            row = found
            row.custom_id, row.request_id = custom_id.decode(), self._custom_ids.pks[number] or None
            if number in self._custom_ids.erased:
                row.message, row.raw, row.error_message = None, None, ""
        self._custom_ids.states[number] = RECEIVED
        self.types[row.result_type if row else result_type] += 1
        return row
