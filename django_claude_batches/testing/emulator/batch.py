"""One batch of the world, and the frozen picture of it that tests look at."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

from .identifiers import Identifiers
from .judging import Failure, Terms, judge
from .lines import Line, line_for, unprocessed_line
from .replies import Replies, Reply, ask

WINDOW = timedelta(hours=24)
"""For how long after `created_at` requests may start (§4)."""

RESULTS_LAST = timedelta(days=29)
"""For how long after `created_at`, not `ended_at`, results can be fetched (§4)."""


@dataclass(frozen=True)
class BatchSnapshot:
    """A batch as it stood when it was asked for. Timestamps are aware datetimes; `requests` are as received."""

    id: str
    workspace_id: str
    anthropic_version: str
    betas: tuple[str, ...]
    user_profile_id: str | None
    processing_status: str
    request_counts: dict[str, int]
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    archived_at: datetime | None
    cancel_initiated_at: datetime | None
    deleted: bool
    requests: list[dict[str, Any]] = field(repr=False)

    @property
    def custom_ids(self) -> list[str]:
        return [request["custom_id"] for request in self.requests]


class Batch:
    """A batch's state. `World` holds the lock and decides when; this knows only how."""

    def __init__(
        self, requests: list[dict[str, Any]], *, random: Random, workspace_id: str, terms: Terms, created_at: datetime
    ) -> None:
        self._random = random
        self._identifiers = Identifiers(random)
        self.id = self._identifiers.batch()
        self.workspace_id = workspace_id
        self.terms = terms
        self.requests = requests
        self.created_at = created_at
        self.expires_at = created_at + WINDOW
        self.processing_status = "in_progress"
        self.ended_at: datetime | None = None
        self.archived_at: datetime | None = None
        self.cancel_initiated_at: datetime | None = None
        self.deleted = False
        self.lines: list[Line] = []
        self.tally = dict.fromkeys(("succeeded", "errored", "canceled", "expired"), 0)

    def process(self, share: float, replies: Replies) -> None:
        """Judge and answer requests, in their order, until this `share` (0 to 1) of them is done."""
        until = int(len(self.requests) * share)
        for index in range(len(self.lines), until):
            request = self.requests[index]
            self._add(line_for(request, self._outcome(request, index, replies), self._identifiers))

    def _outcome(self, request: dict[str, Any], index: int, replies: Replies) -> Reply | Failure:
        failure = judge(request["params"], self.terms)
        return failure or ask(replies, request["params"], request["custom_id"], index=index)

    def end(self, at: datetime, *, rest: str = "canceled") -> None:
        """End: requests not processed yet become `rest` ("canceled" or "expired"), and the order of lines is lost."""
        for request in self.requests[len(self.lines) :]:
            self._add(unprocessed_line(request["custom_id"], rest))
        self._random.shuffle(self.lines)
        self.processing_status = "ended"
        self.ended_at = at

    def cancel(self, at: datetime) -> None:
        self.processing_status = "canceling"
        self.cancel_initiated_at = at

    def archive(self, at: datetime) -> None:
        self.archived_at = at
        self.lines = []

    def delete(self) -> None:
        self.deleted = True
        self.lines = []

    def _add(self, line: Line) -> None:
        self.lines.append(line)
        self.tally[line.type] += 1

    def snapshot(self, *, progressive_counts: bool) -> BatchSnapshot:
        return BatchSnapshot(
            id=self.id,
            workspace_id=self.workspace_id,
            anthropic_version=self.terms.version,
            betas=self.terms.betas,
            user_profile_id=self.terms.user_profile_id,
            processing_status=self.processing_status,
            request_counts=self._counts(progressive=progressive_counts),
            created_at=self.created_at,
            expires_at=self.expires_at,
            ended_at=self.ended_at,
            archived_at=self.archived_at,
            cancel_initiated_at=self.cancel_initiated_at,
            deleted=self.deleted,
            requests=self.requests,
        )

    def _counts(self, *, progressive: bool) -> dict[str, int]:
        """The four terminal counts are 0 until the batch has ended (§3.1), unless the emulator was told otherwise."""
        if self.ended_at or progressive:
            return {"processing": len(self.requests) - sum(self.tally.values())} | self.tally
        return {"processing": len(self.requests)} | dict.fromkeys(self.tally, 0)
