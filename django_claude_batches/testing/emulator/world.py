"""The API's state and its rules, without HTTP: batches, what may be done to them, and what time does to them."""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any, Literal, NamedTuple

from . import errors
from .batch import RESULTS_LAST, Batch, BatchSnapshot
from .clock import Clock
from .identifiers import Identifiers
from .judging import Terms
from .lines import Line
from .replies import Replies

CANCELING_LASTS = 1.0
"""Seconds that canceling takes where batches end by themselves; 1 to 25 were seen (§3.1)."""


@dataclass(frozen=True)
class Rules:
    """How this world behaves where the API does not say, or a test wants it otherwise. See `ClaudeEmulator`."""

    replies: Replies
    seconds: float | None
    progressive_counts: bool
    processed_share: float | None
    cancel_ended: Literal["unchanged", "refused"]


class Page(NamedTuple):
    data: list[BatchSnapshot]
    has_more: bool


class World:
    """All batches. Each method is atomic, and first lets happen what is due by the clock."""

    def __init__(self, rules: Rules, *, seed: int | str | None) -> None:
        self._rules = rules
        self._seed = secrets.token_hex(8) if seed is None else str(seed)
        self._batches: list[Batch] = []
        self._lock = threading.RLock()
        self.clock = Clock()
        self.identifiers = Identifiers(Random(self._seed))  # noqa: S311  shapes, not secrets
        self.organization_id = self.identifiers.organization()

    def create(self, requests: list[dict[str, Any]], *, workspace_id: str, terms: Terms) -> BatchSnapshot:
        with self._lock:
            # Its own generator: a batch's ids and order do not depend on what else was called meanwhile.
            random = Random(f"{self._seed}:{len(self._batches)}")  # noqa: S311
            now = self.clock.now()
            batch = Batch(requests, random=random, workspace_id=workspace_id, terms=terms, created_at=now)
            self._batches.append(batch)
            return self._snapshot(batch)

    def retrieve(self, batch_id: str, *, workspace_id: str) -> BatchSnapshot:
        with self._lock:
            return self._snapshot(self._find(batch_id, workspace_id))

    def page(self, *, workspace_id: str, limit: int, after_id: str | None, before_id: str | None) -> Page:
        """Return one page, newest first: right after `after_id` (older), or right before `before_id` (newer)."""
        with self._lock:
            newest_first = [batch for batch in reversed(self._settled()) if batch.workspace_id == workspace_id]
            ids = [batch.id for batch in newest_first]
            if before_id is not None:
                end = _position(ids, before_id, name="before_id")
                start = max(0, end - limit)
                has_more = start > 0
            else:
                start = 0 if after_id is None else _position(ids, after_id, name="after_id") + 1
                end = start + limit
                has_more = end < len(ids)
            return Page([self._snapshot(batch) for batch in newest_first[start:end]], has_more)

    def cancel(self, batch_id: str, *, workspace_id: str) -> BatchSnapshot:
        """Ask to cancel. Repeated, it changes nothing; once ended, the rule `cancel_ended` answers."""
        with self._lock:
            batch = self._find(batch_id, workspace_id)
            if batch.processing_status == "in_progress":
                now = self.clock.now()
                batch.process(self._share_done(batch, now), self._rules.replies)
                batch.cancel(now)
            elif batch.processing_status == "ended" and self._rules.cancel_ended == "refused":
                raise errors.cancel_ended(batch_id)
            return self._snapshot(batch)

    def delete(self, batch_id: str, *, workspace_id: str) -> None:
        with self._lock:
            batch = self._find(batch_id, workspace_id)
            if batch.processing_status == "in_progress":
                raise errors.delete_in_progress()
            if batch.processing_status == "canceling":
                raise errors.delete_canceling(batch_id)
            batch.delete()

    def results(self, batch_id: str, *, workspace_id: str) -> list[Line]:
        with self._lock:
            batch = self._find(batch_id, workspace_id)
            if batch.processing_status != "ended" or batch.archived_at:
                raise errors.results_unavailable(batch_id)
            return batch.lines

    def finish(self, batch_id: str | None) -> None:
        with self._lock:
            for batch in self._chosen(batch_id):
                if batch.processing_status == "in_progress":
                    batch.process(1, self._rules.replies)
                if batch.processing_status != "ended":
                    batch.end(self.clock.now())

    def expire(self, batch_id: str) -> None:
        with self._lock:
            for batch in self._chosen(batch_id):
                self._expire(batch, self.clock.now())

    def archive(self, batch_id: str) -> None:
        with self._lock:
            for batch in self._chosen(batch_id):
                if batch.processing_status != "ended":
                    raise ValueError(f"{batch_id} is {batch.processing_status}: only an ended batch can be archived")
                batch.archive(self.clock.now())

    def pass_time(self, seconds: float) -> None:
        with self._lock:
            self.clock.advance(seconds)
            self._settled()

    def snapshots(self) -> list[BatchSnapshot]:
        """Return every batch ever made, deleted ones too, oldest first."""
        with self._lock:
            self._settled()
            return [self._snapshot(batch) for batch in self._batches]

    def _snapshot(self, batch: Batch) -> BatchSnapshot:
        return batch.snapshot(progressive_counts=self._rules.progressive_counts)

    def _find(self, batch_id: str, workspace_id: str) -> Batch:
        for batch in self._settled():
            if batch.id == batch_id and batch.workspace_id == workspace_id:
                return batch
        raise errors.batch_unknown(batch_id)

    def _chosen(self, batch_id: str | None) -> list[Batch]:
        chosen = [batch for batch in self._settled() if batch_id in (None, batch.id)]
        if batch_id is not None and not chosen:
            raise LookupError(f"{batch_id} is no batch of this emulator, or was deleted")
        return chosen

    def _settled(self) -> list[Batch]:
        """Return the batches that were not deleted, after what was due by now has happened to them."""
        now = self.clock.now()
        present = [batch for batch in self._batches if not batch.deleted]
        for batch in present:
            self._settle(batch, now)
        return present

    def _settle(self, batch: Batch, now: datetime) -> None:
        if batch.processing_status != "ended":
            self._let_run(batch, now)
        archived_from = batch.created_at + RESULTS_LAST
        if not batch.archived_at and archived_from <= now:
            batch.archive(archived_from)

    def _let_run(self, batch: Batch, now: datetime) -> None:
        due = self._ends_at(batch)
        if due is not None and due <= min(now, batch.expires_at):
            if batch.processing_status == "in_progress":
                batch.process(1, self._rules.replies)
            batch.end(due)
        elif batch.expires_at <= now:
            self._expire(batch, batch.expires_at)
        elif self._rules.progressive_counts and batch.processing_status == "in_progress":
            batch.process(self._share_done(batch, now), self._rules.replies)

    def _ends_at(self, batch: Batch) -> datetime | None:
        """Return when this batch ends by itself, if batches do."""
        if self._rules.seconds is None:
            return None
        if batch.cancel_initiated_at:
            return batch.cancel_initiated_at + timedelta(seconds=min(self._rules.seconds, CANCELING_LASTS))
        return batch.created_at + timedelta(seconds=self._rules.seconds)

    def _share_done(self, batch: Batch, now: datetime) -> float:
        if self._rules.processed_share is not None:
            return self._rules.processed_share
        if not self._rules.seconds:
            return 0.0
        return min(1.0, (now - batch.created_at).total_seconds() / self._rules.seconds)

    def _expire(self, batch: Batch, at: datetime) -> None:
        if batch.processing_status == "in_progress":
            batch.process(self._share_done(batch, at), self._rules.replies)
            batch.end(at, rest="expired")
        elif batch.processing_status == "canceling":
            batch.end(at)


def _position(ids: list[str], batch_id: str, *, name: str) -> int:
    try:
        return ids.index(batch_id)
    except ValueError:
        raise errors.cursor_unknown(name, batch_id) from None
