"""Check the rows of a file as they will be drafted, without storing anything."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.contrib.contenttypes.models import ContentType

from django_claude_batches import sanitize
from django_claude_batches.drafting.body import BodySize
from django_claude_batches.drafting.request import Prepared, check
from django_claude_batches.estimates import ExpectedUsage
from django_claude_batches.exceptions import InvalidRequest, LimitExceeded
from django_claude_batches.models import MessageBatch, bulk
from django_claude_batches.request_files.row import OF_THE_FILE, Row

# Maximum bad rows that are listed; the others are only counted.
MAX_BAD_ROWS = 1000

MAX_SAMPLES = 3
# Maximum characters of a request that are shown.
MAX_SAMPLE_CHARACTERS = 20_000

MAX_PROBLEM_CHARACTERS = 300


@dataclass(slots=True)
class CheckReport:
    """The result of checking a file: the counts, the size, the first requests as they will be sent, and the bad rows.

    A problem with the whole file, its header or the prompt is a bad row with the number 0.

    Each row is checked as `create_draft` will check it, and against the maximum size of a statement of the database.
    `bytes` is the size of the batch's body. `is_full` means that a row exceeded the limits of a batch; the caller then
    stops. Memory is bounded by the limits of a batch: the custom_ids of valid rows are kept, to find repeated ones.
    """

    rows: int = 0
    requests: int = 0
    bytes: int = 0
    bad_count: int = 0
    bad_rows: list[tuple[int, str]] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)
    is_full: bool = False
    _tally: BodySize = field(default_factory=BodySize)
    _seen: set[str] = field(default_factory=set)
    _using: str = field(default_factory=lambda: MessageBatch.objects.primary().db)

    @property
    def expected(self) -> ExpectedUsage:
        """Return the expected usage of the requests so far."""
        return self._tally.expected

    def add_row(self, row: Row) -> str:
        """Check one more row. Return what is wrong with it; empty if it is valid."""
        self.rows += row.number != OF_THE_FILE
        problem = sanitize.text(row.problem or self._add(row), MAX_PROBLEM_CHARACTERS)
        if problem:
            self.bad_count += 1
            if len(self.bad_rows) < MAX_BAD_ROWS:
                self.bad_rows.append((row.number, problem))
        return problem

    def _add(self, row: Row) -> str:
        try:
            request = check(row.request, self.rows - 1, ContentType.objects).encoded()  # rows of a file have no target
            if request.custom_id in self._seen:
                return f"custom_id {request.custom_id!r} is used twice in this batch"
            if problem := bulk.obstacle(request, using=self._using):
                return problem
            self._tally.add(request)
        except InvalidRequest as error:
            self.is_full = isinstance(error, LimitExceeded)
            return error.reason
        self._seen.add(request.custom_id)
        self.requests, self.bytes = self._tally.requests, self._tally.bytes
        if len(self.samples) < MAX_SAMPLES:
            self.samples.append(_sample(request))
        return ""


def _sample(request: Prepared) -> dict[str, Any]:
    return {"custom_id": request.custom_id, "params": request.params[:MAX_SAMPLE_CHARACTERS], "bytes": request.size}
