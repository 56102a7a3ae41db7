"""The emulator's state and its rules, without HTTP: batches, the operations on them, and the effects of time."""

from __future__ import annotations

import bisect
import contextlib
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any, Literal, NamedTuple

from . import errors
from .batch import RESULTS_LAST, Batch, BatchSnapshot
from .clock import Clock
from .identifiers import Identifiers
from .journal import Journal
from .lines import Line
from .pagination import page_of
from .replies import Replies
from .validation.params import Terms

logger = logging.getLogger(__name__)

# Seconds that canceling takes if batches end automatically; 1 to 25 were observed (§3.1).
CANCELING_LASTS = 1.0


@dataclass(frozen=True)
class Rules:
    """The configurable behavior: where the API is not documented, or a test needs a variant. See `ClaudeEmulator`."""

    replies: Replies
    seconds: float | None
    progressive_counts: bool
    processed_share: float | None
    cancel_ended: Literal["unchanged", "refused"]


class Page(NamedTuple):
    data: list[BatchSnapshot]
    has_more: bool


class World:
    """All batches. Each method is atomic, and first applies the changes that are due by the clock."""

    def __init__(self, rules: Rules, *, seed: int | str, journal: Journal | None = None) -> None:
        self._rules = rules
        self._seed = str(seed)
        self._journal = journal or Journal(None)
        self._batches: list[Batch] = []  # by created_at, including those that have not landed yet
        self._lock = threading.RLock()
        self._has_logged = False
        self.clock = Clock()
        self.identifiers = Identifiers(Random(self._seed))  # noqa: S311  shapes, not secrets
        self.organization_id = self.identifiers.organization()

    def create(
        self,
        requests: list[dict[str, Any]],
        *,
        workspace_id: str,
        terms: Terms,
        lands_in: float = 0.0,
        seen_in: float = 0.0,
        stranger: bool = False,
        tag_length: int = 0,
    ) -> BatchSnapshot:
        """Make a batch, `lands_in` seconds from now; calls see it `seen_in` seconds after that."""
        with self._lock:
            created_at = self.clock.now() + timedelta(seconds=lands_in)
            batch = Batch(
                requests=requests,
                random=self._random(),
                workspace_id=workspace_id,
                terms=terms,
                created_at=created_at,
                seen_from=created_at + timedelta(seconds=seen_in),
                stranger=stranger,
                tag_length=tag_length,
            )
            if self._journal.kept:
                self._journal.write("batch", batch.birth())
            self._add(batch)
            return self._snapshot(batch)

    def recall(self, kind: str, entry: dict[str, Any]) -> None:
        """Restore an entry of the journal."""
        if kind == "batch":
            self._add(Batch.reborn(entry, random=self._random()))
        elif kind == "state":
            next(batch for batch in self._batches if batch.id == entry["id"]).resume(entry)
        elif kind == "clock":
            self.clock.added = timedelta(seconds=entry["added"])

    def _random(self) -> Random:
        """Return the next batch's own generator: its ids and order do not depend on other calls."""
        return Random(f"{self._seed}:{len(self._batches)}")  # noqa: S311

    def _add(self, batch: Batch) -> None:
        bisect.insort(self._batches, batch, key=lambda batch: batch.created_at)

    def _changed(self, batch: Batch) -> None:
        if self._journal.kept:
            self._journal.write("state", batch.state())

    def retrieve(self, batch_id: str, *, workspace_id: str) -> BatchSnapshot:
        with self._lock:
            return self._snapshot(self._find(batch_id, workspace_id))

    def page(self, *, workspace_id: str, limit: int, after_id: str | None, before_id: str | None) -> Page:
        """Return one page, newest first."""
        with self._lock:
            newest_first = self._seen(workspace_id)[::-1]
            ids = [batch.id for batch in newest_first]
            part, has_more = page_of(ids, limit=limit, after_id=after_id, before_id=before_id)
            return Page([self._snapshot(batch) for batch in newest_first[part]], has_more)

    def cancel(self, batch_id: str, *, workspace_id: str) -> BatchSnapshot:
        """Request canceling.

        A repeated call changes nothing; for an ended batch the rule `cancel_ended` decides the answer.
        """
        with self._lock:
            batch = self._find(batch_id, workspace_id)
            if batch.processing_status == "in_progress":
                now = self.clock.now()
                with self._keeping(batch):
                    batch.process(self._share_done(batch, now), self._rules.replies)
                batch.cancel(now)
                self._changed(batch)
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
            self._changed(batch)

    def results(self, batch_id: str, *, workspace_id: str) -> list[Line]:
        with self._lock:
            batch = self._find(batch_id, workspace_id)
            if batch.processing_status != "ended" or batch.archived_at:
                raise errors.results_unavailable(batch_id)
            return batch.lines

    def finish(self, batch_id: str | None) -> None:
        """End the chosen batches; then raise the exception of `replies` for one of them, which stays unchanged."""
        with self._lock:
            chosen = self._chosen(batch_id)
            for batch in chosen:
                with self._keeping(batch):
                    if batch.processing_status != "ended":
                        self._finish(batch, self.clock.now())
            _raise_of(chosen)

    def expire(self, batch_id: str) -> None:
        with self._lock:
            chosen = self._chosen(batch_id)
            for batch in chosen:
                with self._keeping(batch):
                    self._expire(batch, self.clock.now())
            _raise_of(chosen)

    def archive(self, batch_id: str) -> None:
        with self._lock:
            for batch in self._chosen(batch_id):
                if batch.processing_status != "ended":
                    raise ValueError(f"{batch_id} is {batch.processing_status}: only an ended batch can be archived")
                batch.archive(self.clock.now())
                self._changed(batch)

    def pass_time(self, seconds: float) -> None:
        with self._lock:
            self.clock.advance(seconds)
            self._journal.write("clock", {"added": self.clock.added.total_seconds()})
            _raise_of(self._settled())

    def snapshots(self) -> list[BatchSnapshot]:
        """Return every batch that has landed, deleted ones too, oldest first."""
        with self._lock:
            self._settled()
            now = self.clock.now()
            return [self._snapshot(batch) for batch in self._batches if batch.created_at <= now]

    def _snapshot(self, batch: Batch) -> BatchSnapshot:
        return batch.snapshot(progressive_counts=self._rules.progressive_counts)

    def _find(self, batch_id: str, workspace_id: str) -> Batch:
        for batch in self._seen(workspace_id):
            if batch.id == batch_id:
                if batch.raised:
                    raise errors.emulator_failed(batch.raised)
                return batch
        raise errors.batch_unknown(batch_id)

    def _seen(self, workspace_id: str) -> list[Batch]:
        """Return the batches that a key of this Workspace can see, oldest first."""
        settled, now = self._settled(), self.clock.now()
        return [batch for batch in settled if batch.workspace_id == workspace_id and batch.seen_from <= now]

    def _chosen(self, batch_id: str | None) -> list[Batch]:
        chosen = [batch for batch in self._settled() if batch_id in (None, batch.id)]
        if batch_id is not None and not chosen:
            raise LookupError(f"this emulator has no batch {batch_id}, or it was deleted")
        return chosen

    def _settled(self) -> list[Batch]:
        """Return the batches that landed and were not deleted, after applying what is due."""
        now = self.clock.now()
        present = [batch for batch in self._batches if not batch.deleted and batch.created_at <= now]
        for batch in present:
            self._settle(batch, now)
        return present

    @contextlib.contextmanager
    def _keeping(self, batch: Batch) -> Iterator[None]:
        """Store an exception of `replies` with its batch, and log the first: other batches' calls must not raise it."""
        batch.raised = None
        try:
            yield
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # pytest.fail raises a BaseException
            batch.raised = error
            if not self._has_logged:
                logger.error("Batch %s cannot be processed", batch.id, exc_info=error)
            self._has_logged = True

    def _settle(self, batch: Batch, now: datetime) -> None:
        if batch.processing_status != "ended":
            with self._keeping(batch):
                self._let_run(batch, now)
        archived_from = batch.created_at + RESULTS_LAST
        if not batch.archived_at and archived_from <= now:
            batch.archive(archived_from)
            self._changed(batch)

    def _let_run(self, batch: Batch, now: datetime) -> None:
        due = self._ends_at(batch)
        if due is not None and due <= min(now, batch.expires_at):
            self._finish(batch, due)
        elif batch.expires_at <= now:
            self._expire(batch, batch.expires_at)
        elif self._rules.progressive_counts and batch.processing_status == "in_progress":
            batch.process(self._share_done(batch, now), self._rules.replies)

    def _ends_at(self, batch: Batch) -> datetime | None:
        """Return when this batch ends automatically, if batches do."""
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

    def _finish(self, batch: Batch, at: datetime) -> None:
        if batch.processing_status == "in_progress":
            batch.process(1, self._rules.replies)
        self._end(batch, at)

    def _expire(self, batch: Batch, at: datetime) -> None:
        if batch.processing_status == "in_progress":
            batch.process(self._share_done(batch, at), self._rules.replies)
            self._end(batch, at, rest="expired")
        elif batch.processing_status == "canceling":
            self._end(batch, at)

    def _end(self, batch: Batch, at: datetime, *, rest: str = "canceled") -> None:
        batch.end(at, rest=rest)
        self._changed(batch)


def _raise_of(batches: list[Batch]) -> None:
    """Raise the exception of `replies` for the first of these batches that has one."""
    for batch in batches:
        if batch.raised:
            raise batch.raised
