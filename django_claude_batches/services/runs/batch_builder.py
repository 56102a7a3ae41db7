"""Fill a run's batches with requests.

Drafting can be interrupted after any page and continues in the same batches.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django_claude_batches import wire
from django_claude_batches.db import packet_limit
from django_claude_batches.drafting.body import BodySize, wire_bytes
from django_claude_batches.drafting.request import Prepared
from django_claude_batches.models import bulk
from django_claude_batches.models.batch.batch import MessageBatch
from django_claude_batches.models.batch_state import State
from django_claude_batches.models.run import JobRun

Betas = tuple[str, ...]


@dataclass(slots=True)
class OpenBatch:
    """A batch that is not full, its size, and the requests in it that are not written yet."""

    batch: MessageBatch
    tally: BodySize
    waiting: list[Prepared] = field(default_factory=list)


class BatchBuilder:
    """Put a run's requests into as few batches as possible; one batch for each set of betas is filled at a time.

    A batch holds `most` requests, and its body `most_bytes`, at most. Use it inside one transaction, which also writes
    how far the run is.
    """

    def __init__(
        self,
        run: JobRun,
        *,
        attempt: int,
        parent: MessageBatch | None = None,
        most: int,
        most_bytes: int = wire.MAX_BODY_BYTES,
        using: str,
    ) -> None:
        self._run = run
        self._attempt = attempt
        self._parent = parent
        self._most = min(most, wire.MAX_REQUESTS)
        self._most_bytes = min(most_bytes, wire.MAX_BODY_BYTES)
        self._using = using
        self._open: dict[Betas, OpenBatch] = {}
        unfinished = MessageBatch.objects.using(using).filter(state=State.DRAFT, is_filling=True)
        for batch in unfinished.filter(run=run, run_attempt=attempt, parent=parent):
            size = BodySize.resumed(batch.request_count, batch.body_bytes, batch.expected_usage)
            self._open[tuple(batch.betas)] = OpenBatch(batch, size)
        self._waiting_bytes = 0

    def add(self, request: Prepared, betas: Betas) -> None:
        """Add a request to the batch of these betas, or to a new one if that is full.

        Write what was added whenever that has 4 MB. Raise LimitExceeded for a request that is `too_large`.
        """
        into = self._open.get(betas)
        if into is None or not self._has_room(into.tally, request):
            self._close(betas)
            into = self._begin(betas)
        into.waiting.append(into.tally.add(with_position(request, into.tally)))
        self._waiting_bytes += request.size
        if self._waiting_bytes > bulk.PACKET_BYTES:
            self.store()

    def _has_room(self, tally: BodySize, request: Prepared) -> bool:
        return tally.has_room(with_position(request, tally), most=self._most, most_bytes=self._most_bytes)

    def store(self) -> None:
        """Write what was added."""
        for each in self._open.values():
            if each.waiting:
                self._write(each)
        self._waiting_bytes = 0

    def close(self) -> None:
        """Write what was added, and close all batches, so that they can be submitted."""
        for betas in list(self._open):
            self._close(betas)

    def _begin(self, betas: Betas) -> OpenBatch:
        run = self._run
        batch = MessageBatch.objects.using(self._using).create(
            kind=run.job,
            label=run.label,
            account=run.account,
            betas=list(betas),
            parent=self._parent,
            created_by_id=run.created_by_id,
            created_by_name=run.created_by_name,
            run=run,
            run_attempt=self._attempt,
            is_filling=True,
        )
        self._open[betas] = OpenBatch(batch, BodySize())
        return self._open[betas]

    def _write(self, each: OpenBatch, **changes: Any) -> None:
        for _stored in bulk.insert(each.batch.pk, each.waiting, _AlreadyCounted(), using=self._using):
            pass
        each.waiting.clear()
        tally = each.tally
        MessageBatch.objects.using(self._using).filter(pk=each.batch.pk).update(
            request_count=tally.requests, body_bytes=tally.bytes, expected_usage=tally.expected.stored(), **changes
        )

    def _close(self, betas: Betas) -> None:
        full = self._open.pop(betas, None)
        if full is not None:
            self._write(full, is_filling=False)
            sizes = f"{full.tally.requests:,} requests, {full.tally.bytes:,} bytes"
            full.batch.log_event("drafted", f"{sizes}, by run {self._run}")


def with_position(request: Prepared, tally: BodySize) -> Prepared:
    """Return the request as the next one of a batch: its position is also its custom_id unless it has one."""
    return request._replace(position=tally.requests, custom_id=request.custom_id or str(tally.requests))


def too_large(request: Prepared, *, using: str) -> str:
    """Return why the request fits into no batch, or no statement of the database; empty if it does."""
    if request.size <= packet_limit.MIN_CHECKED_BYTES:
        return ""
    size = BodySize().bytes + wire_bytes(request)
    if size > wire.MAX_BODY_BYTES:
        return f"a batch with this request alone has {size:,} bytes, and may have {wire.MAX_BODY_BYTES:,}"
    return bulk.obstacle(request, using=using)


class _AlreadyCounted(BodySize):
    """Count nothing: requests were counted when they were added."""

    def add(self, request: Prepared) -> Prepared:
        return request
