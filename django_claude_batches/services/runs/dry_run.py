"""Compute what a run would send. Nothing is stored or sent."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, field
from typing import Any

from django.db.models import QuerySet

from django_claude_batches import conf, job_registry, wire
from django_claude_batches.drafting.body import BodySize
from django_claude_batches.estimates import Estimate, ExpectedUsage
from django_claude_batches.exceptions import Unaskable
from django_claude_batches.model_limits import is_lifted
from django_claude_batches.models import JobRun
from django_claude_batches.services.job_calls import get_job
from django_claude_batches.services.runs.batch_builder import Betas, with_position
from django_claude_batches.services.runs.draft import max_batch_requests
from django_claude_batches.services.runs.request_builder import (
    LeftOut,
    build_request,
    page_size,
    read_page,
    row_name,
    rows_of,
)

SAMPLES = 3


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a run would send: numbers of rows, requests and batches, bytes of their bodies, and what they may cost.

    `samples` are the params of the first three requests. If the time was over first, `is_complete` is false and the
    numbers are those of the first `requests` of `rows` rows. `left_out` counts the rows that cannot be asked, if such
    rows are left out, and `left_out_rows` names the first of them, with the reason.
    """

    rows: int
    requests: int
    batches: int
    bytes: int
    estimate: Estimate
    samples: list[dict[str, Any]]
    is_complete: bool
    left_out: int = 0
    left_out_rows: list[list[str]] = field(default_factory=list)


def dry_run(name: str, *, seconds: float | None = None, skip_unaskable: bool = False) -> DryRun:
    """Compute what a run of the job would send, in constant memory, for `seconds` at most; nothing is stored.

    Raise UnknownJob, and Unaskable with the first row that cannot be asked, unless such rows are left out: by the job's
    class, or `skip_unaskable`.
    """
    return _DryRunner(get_job(name), skip_unaskable=skip_unaskable).run(
        math.inf if seconds is None else time.monotonic() + seconds
    )


class _DryRunner:
    def __init__(self, job: job_registry.Job, *, skip_unaskable: bool) -> None:
        self._job = job
        self._skips = skip_unaskable or job.skip_unaskable
        self._left_out = LeftOut()
        self._using = JobRun.objects.primary().db
        self._most = max_batch_requests()
        self._batches: list[BodySize] = []
        self._open: dict[Betas, BodySize] = {}
        self._expected = ExpectedUsage()
        self._samples: list[dict[str, Any]] = []
        self._requests = 0

    def run(self, give_up_at: float) -> DryRun:
        is_complete = self._take_all(give_up_at)
        return DryRun(
            rows=self._requests if is_complete else self._count_rows(),
            requests=self._requests,
            batches=len(self._batches),
            bytes=sum(batch.bytes for batch in self._batches),
            estimate=self._expected.estimate(conf.prices()),
            samples=self._samples,
            is_complete=is_complete,
            left_out=self._left_out.count,
            left_out_rows=self._left_out.rows,
        )

    def _take_all(self, give_up_at: float) -> bool:
        """Count rows until the time is over; return whether all were counted."""
        after, size = None, 0
        while page := read_page(self._job, after=after, size=self._page_size(size)):
            for row in page:
                if time.monotonic() >= give_up_at:
                    return False
                size += self._take(row)
            after = page[-1].pk
        return True

    def _page_size(self, size: int) -> int:
        return page_size(self._requests, size, left_out=self._left_out.count)

    def _count_rows(self) -> int:
        rows = rows_of(self._job)
        once: QuerySet[Any] = rows.model._base_manager.using(rows.db).filter(pk__in=rows.order_by().values("pk"))
        return once.count()

    def _take(self, row: Any) -> int:
        """Count the row's request, and return its size; 0 for a row that is left out."""
        try:
            request, betas = build_request(self._job, row, using=self._using)
        except Unaskable as error:
            if not self._skips:
                raise
            self._left_out.add(row, error)
            return 0
        batch = self._open.get(betas)
        if batch is None or not batch.has_room(
            with_position(request, batch), most=self._most, most_bytes=wire.MAX_BODY_BYTES
        ):
            batch = self._open[betas] = BodySize()
            self._batches.append(batch)
        batch.add(with_position(request, batch))
        self._expected.add(request)
        self._expected.warn((said for said in request.warnings if not is_lifted(said, betas)), row_name(row))
        self._requests += 1
        if len(self._samples) < SAMPLES:
            self._samples.append(json.loads(request.params))
        return request.size
