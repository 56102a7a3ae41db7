"""Purge the bodies of one batch, holding its lease."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Coalesce

from django_claude_batches.db.leases import DatabaseNow
from django_claude_batches.models import MessageBatch
from django_claude_batches.models.large_columns import KeyRange, LargeColumns, clear_error_texts
from django_claude_batches.services.retention.policy import BodyKind


@dataclass(slots=True)
class PurgeCount:
    """Counts for one kind of body: whole batches, rows, and expired batches that keep it all the same."""

    batches: int = 0
    rows: int = 0
    kept: int = 0


@dataclass(slots=True)
class PurgeReport:
    """What was purged of one account; for a dry run, what would be.

    `remote_copies` counts the batches whose deletion at Anthropic was requested: a worker does it. `leased` counts
    those leased by another process, which are purged later; `is_complete` says whether the time was enough for all.
    `problem` is the error that ended the purge.
    """

    account: str
    request_bodies: PurgeCount = field(default_factory=PurgeCount)
    result_bodies: PurgeCount = field(default_factory=PurgeCount)
    remote_copies: PurgeCount = field(default_factory=PurgeCount)
    leased: int = 0
    is_complete: bool = True
    problem: str = ""


@dataclass(slots=True)
class PurgeProgress:
    """The remaining time, and the callback for progress."""

    report: PurgeReport
    give_up_at: float | None
    progress: Callable[[PurgeReport], object] | None

    @property
    def is_over(self) -> bool:
        if self.give_up_at is not None and time.monotonic() >= self.give_up_at:
            self.report.is_complete = False
        return not self.report.is_complete

    def report_progress(self) -> None:
        if self.progress is not None:
            self.progress(self.report)


def purge_bodies(pk: int, kind: BodyKind, purged: PurgeCount, progress_so_far: PurgeProgress) -> None:
    """Empty one batch's bodies, and record on its row when the last is gone. Count it, or that another process has it.

    After a kill or a timeout, the next call finds the remaining bodies in the rows.
    """
    rows = MessageBatch.objects.primary().filter(kind.purgeable)
    with rows.lease(pk) as token:
        # Before the first row: actions that need the whole batch are refused from now on.
        began = {kind.began_at: Coalesce(F(kind.began_at), DatabaseNow())}
        if token is None or not rows.leased_by(pk, token).update(**began):
            progress_so_far.report.leased += 1
            return
        for bodies in kind.bodies:
            for span in bodies.key_ranges(pk, using=rows.db):
                if progress_so_far.is_over or not _purge_range(pk, token, kind, bodies, span, purged):
                    return
                progress_so_far.report_progress()
        purged.batches += _mark_purged(pk, token, kind)


def _purge_range(pk: int, token: str, kind: BodyKind, bodies: LargeColumns, span: KeyRange, purged: PurgeCount) -> bool:
    rows = MessageBatch.objects.primary().filter(kind.purgeable)
    with transaction.atomic(using=rows.db, durable=True):
        # Renewing the lease also locks the row: a process whose lease expired finds it lost, and empties nothing.
        if not rows.renew(pk, token):
            return False
        count = bodies.clear(pk, span, using=rows.db)
    purged.rows += count
    return True


def _mark_purged(pk: int, token: str, kind: BodyKind) -> bool:
    rows = MessageBatch.objects.primary()
    with transaction.atomic(using=rows.db, durable=True):
        changes = {kind.purged_at: DatabaseNow(), **kind.of_batch}
        closed = rows.filter(kind.purgeable).leased_by(pk, token).update(**changes)
        if closed:
            clear_error_texts(pk, using=rows.db)
            rows.get(pk=pk).log_event(f"{kind.name}_bodies_purged", kind.words)
    return bool(closed)
