"""Draft a run's rows into batches: by keyset, in constant memory, each row once."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.db.models import Q, Sum

from django_claude_batches import conf, job_registry, wire
from django_claude_batches.db.leases import DatabaseNow
from django_claude_batches.exceptions import Unaskable
from django_claude_batches.models import JobRun, RunState
from django_claude_batches.services.runs.batch_builder import BatchBuilder
from django_claude_batches.services.runs.request_builder import (
    MAX_PAGE_BYTES,
    LeftOut,
    RowRequest,
    build_request,
    page_size,
    read_page,
)

FIX_HINT = (
    "Fix it, and resume the run: it continues with this row. Or resume it without rows that cannot be asked "
    "(`resume-run --skip-unaskable`): they are left out and counted."
)

# Maximum time for a page: the job's code may be slow, and the lease is renewed between pages.
MAX_PAGE_SECONDS = 10.0


def draft(run: JobRun, token: str, job: job_registry.Job) -> bool:
    """Draft the run's next rows, in one transaction with its progress; return whether there may be more.

    A row that cannot be asked pauses the run, which continues with that row when it is resumed; with `skip_unaskable`
    of the job or the run, it is left out and counted.
    """
    try:
        # All rows before may have been erased: then none is counted, but they were read.
        has_begun = run.cursor or run.row_count + run.left_out_count
        page = read_page(job, after=run.cursor if has_begun else None, size=_page_size(run))
    except Unaskable as error:
        run.pause(f"{error}\n\nFix it, and resume the run.", token=token)
        return False
    taken = _draft_page(run, job, page)  # before the transaction: the project's code may be slow
    rows = JobRun.objects.primary()
    with transaction.atomic(using=rows.db, durable=True):
        # The row lock serializes this with pausing or canceling the run.
        if not rows.moving().filter(state=RunState.DRAFTING).renew(run.pk, token):
            return False
        builder = BatchBuilder(run, attempt=1, most=max_batch_requests(), using=rows.db)
        for each in taken.asked:
            builder.add(each.request, each.betas)
        if page:
            builder.store()
        else:
            builder.close()
        _record_progress(run, token, taken, is_over=not page)
    if taken.problem:
        # A person may have chosen since to leave such rows out: the run then continues with this row.
        is_paused = run.pause(f"{taken.problem}\n\n{FIX_HINT}", where=Q(skip_unaskable=False), token=token)
        return not is_paused and run.skip_unaskable
    return bool(page)


def max_batch_requests() -> int:
    """Return how many requests a run's batch may hold: no more than the queue takes."""
    return min(conf.max_in_flight_requests() or wire.MAX_REQUESTS, wire.MAX_REQUESTS)


def _page_size(run: JobRun) -> int:
    drafted = run.batches.using(JobRun.objects.primary().db).filter(run_attempt=1)
    return page_size(
        run.row_count, drafted.aggregate(total=Sum("body_bytes"))["total"] or 0, left_out=run.left_out_count
    )


@dataclass(slots=True)
class _PageDraft:
    """The requests of a page's rows, and the rows of the whole run that were left out; `last` is the last row of both.

    `problem` says why the next row cannot be asked, if such rows are not left out.
    """

    left_out: LeftOut
    asked: list[RowRequest] = field(default_factory=list)
    last: Any = None
    problem: str = ""


def _draft_page(run: JobRun, job: job_registry.Job, page: list[Any]) -> _PageDraft:
    """Process the page's rows until a limit of bytes or time is reached."""
    taken = _PageDraft(LeftOut(run.left_out_count, run.left_out_rows))
    size = 0
    give_up_at = time.monotonic() + MAX_PAGE_SECONDS
    using = JobRun.objects.primary().db
    for row in page:
        try:
            taken.asked.append(build_request(job, row, using=using))
            size += taken.asked[-1].request.size
        except Unaskable as error:
            if not (run.skip_unaskable or job.skip_unaskable):
                taken.problem = str(error)
                break
            taken.left_out.add(row, error)
        taken.last = row
        if size > MAX_PAGE_BYTES or time.monotonic() > give_up_at:
            break
    return taken


def _record_progress(run: JobRun, token: str, taken: _PageDraft, *, is_over: bool) -> None:
    changes: dict[str, Any] = {"next_action_at": DatabaseNow(), "failures": 0, "last_error": ""}
    if taken.last is not None:
        changes |= {"cursor": str(taken.last.pk), "row_count": run.row_count + len(taken.asked)}
        changes |= {"left_out_count": taken.left_out.count}
        if len(taken.left_out.rows) > len(run.left_out_rows):
            changes |= {"left_out_rows": taken.left_out.rows}
    if is_over:
        changes |= {"state": RunState.RUNNING, "drafted_at": DatabaseNow()}
    run.change(Q(state=RunState.DRAFTING), token=token, **changes)
