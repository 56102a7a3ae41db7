"""Erase what is stored about one row of the project: a purge of its requests, independent of RETENTION.

A process that writes a body, or an error that may quote one, holds a lease: fetching and announcing on the batch,
calling a handler on the delivery, drafting on the run. Erasing acquires the same leases for a moment. So work that
began before has either ended, or has lost its lease and writes nothing more; later work finds the request marked.
"""

from __future__ import annotations

from functools import partial
from itertools import groupby
from typing import Any

from django.db import OperationalError, models
from django.db.models import Q
from django.utils import timezone

from django_claude_batches import job_registry
from django_claude_batches.db.keyset import PAGE_ROWS
from django_claude_batches.drafting.target import content_types_of, resolve_target
from django_claude_batches.exceptions import InvalidRequest
from django_claude_batches.models import BatchRequest, JobRun, MessageBatch, RunState, State, SubmitAttempt
from django_claude_batches.models.batch_state import RUNNING
from django_claude_batches.models.large_columns import HAS_ERROR_TEXT, clear_run_texts
from django_claude_batches.services.connection import require_no_transaction
from django_claude_batches.services.polling.loss import RESULTS_LAST
from django_claude_batches.services.retention.erase_batch import Busy, erase_requests, lease
from django_claude_batches.services.retention.erase_target import EraseTarget, find_target
from django_claude_batches.services.retention.erasure import Erasure, RemoteCopy

LEASED_ELSEWHERE = "Another process is working on {}. Erase the row again in a moment."

RUN_BEING_DRAFTED = "Run {} was being drafted, and may ask about the row: erase it again when it is drafted."

BEING_DRAFTED = Q(state=RunState.DRAFTING, paused_at__isnull=True)

# Errors of a lock or a deadlock: MariaDB's and MySQL's, PostgreSQL's, SQLite's.
LOCKED = frozenset({1205, 1213, "40001", "40P01", "55P03", "database is locked", "database table is locked"})


def erase(target: models.Model, *, rows_are_replicas: bool = False, by: Any = None) -> Erasure:
    """Remove everything that is stored about one row of the project, and prevent that more is stored later.

    Removed are the params of its requests, their answers and outputs, errors of handlers, and all texts of errors and
    timelines that may quote them, including those about other rows of the same batches, since these cannot be told
    apart. The requests stay, with counts, tokens, costs and the target's key, and are marked: an answer that arrives
    later is counted and dropped. A batch that was not sent loses the request; if it has no other, it is deleted.

    For a deleted row, pass an instance with its primary key, `Review(pk=17)`. Rows of parent and child models with the
    same key are erased too. `rows_are_replicas` is as for `create_draft`. Can be repeated; continues where it was
    interrupted. Sends no HTTP. Must run outside a transaction. Raise InvalidRequest if `target` is not a row, or is one
    of another database.
    """
    require_no_transaction("erase()")
    content_types = content_types_of(BatchRequest.objects.primary().db)
    content_type_id, object_id = resolve_target(target, content_types, rows_are_replicas=rows_are_replicas)
    if content_type_id is None:
        raise InvalidRequest("there is nothing to erase without a row")
    name = f"{target._meta.label}:{object_id}"
    return erase_by_key(find_target(content_types.get_for_id(content_type_id), target.pk, name=name), by=by)


def erase_by_key(row: EraseTarget, *, by: Any = None) -> Erasure:
    """Do the same for the content types and keys of a row: its model may have been removed too."""
    require_no_transaction("erase()")
    report = Erasure(row.name)
    runs = JobRun.objects.primary().exclude(job__in=_jobs_over_others(row))
    # Queried before the first request: a run that stops drafting during the loop may have added requests.
    drafted = set(runs.filter(BEING_DRAFTED).values_list("pk", flat=True))
    about = BatchRequest.objects.primary().order_by("pk")
    about = about.filter(content_type__in=row.content_types, object_id__in=row.keys)
    last = 0
    # Each page is read after the one before is erased, so requests drafted since are newer, and found.
    while page := list(about.filter(pk__gt=last).values_list("pk", "batch", "erased_at")[:PAGE_ROWS]):
        for batch_id, rows in groupby(page, key=lambda row: row[1]):
            found = list(rows)
            new = [pk for pk, _batch, erased_at in found if erased_at is None]
            report.before += len(found) - len(new)
            if new:
                _run_step(report, partial(erase_requests, batch_id, new, report, by))
            _report_copies(report, batch_id)
        last = page[-1][0]
    for run in runs.filter(BEING_DRAFTED | Q(pk__in=drafted)).order_by("pk"):
        report.leased.append(RUN_BEING_DRAFTED.format(run))
    # After waiting for runs that were being drafted: one that paused at the row has its error text by now.
    for pk in list(runs.filter(HAS_ERROR_TEXT).order_by("pk").values_list("pk", flat=True)):
        _run_step(report, partial(_clear_run_texts, pk))
    return report


def _run_step(report: Erasure, step: partial[None]) -> None:
    try:
        step()
    except Busy as busy:
        said = LEASED_ELSEWHERE.format(busy)
    except OperationalError as error:
        if not _is_lock_error(error):
            raise
        said = LEASED_ELSEWHERE.format(f"rows that it needs ({error})")
    else:
        return
    if said not in report.leased:
        report.leased.append(said)


def _is_lock_error(error: OperationalError) -> bool:
    """Return whether the database rolled back a transaction because of another one's lock."""
    code = getattr(error.__cause__, "sqlstate", None) or getattr(error.__cause__, "pgcode", None)
    return code in LOCKED or (error.args[:1] or ("",))[0] in LOCKED


def _report_copies(report: Erasure, batch_id: int) -> None:
    """Report what Anthropic still has. It keeps results for 29 days from the creation of a batch."""
    rows = MessageBatch.objects.primary().filter(pk=batch_id, remote_deleted_at__isnull=True, archived_at__isnull=True)
    for batch in rows.filter(Q(anthropic_id__isnull=False) | Q(state=State.ABANDONED)).exclude(state=State.LOST):
        made_at = batch.created_at or batch.queued_at
        until = None if batch.state in RUNNING or made_at is None else made_at + RESULTS_LAST
        _add_copy(report, RemoteCopy(batch.pk, batch.anthropic_id or "", until))
    attempts = SubmitAttempt.objects.primary().filter(batch=batch_id, remote_id__isnull=False)
    mirrored = MessageBatch.objects.primary().filter(anthropic_id=models.OuterRef("remote_id"))
    for attempt in attempts.exclude(models.Exists(mirrored)):
        made_at = attempt.sent_at or attempt.recorded_at
        _add_copy(report, RemoteCopy(batch_id, attempt.remote_id or "", made_at + RESULTS_LAST, is_second=True))


def _add_copy(report: Erasure, copy: RemoteCopy) -> None:
    if copy not in report.copies and (copy.until is None or copy.until > timezone.now()):
        report.copies.append(copy)


def _clear_run_texts(pk: int) -> None:
    rows = JobRun.objects.primary()
    with lease(rows, pk, f"run #{pk}") as token:
        clear_run_texts(rows.leased_by(pk, token))


def _jobs_over_others(row: EraseTarget) -> list[str]:
    """Return the names of jobs that are known to be over other models: a run of another job may be about the row.

    A run that paused at the row has no request about it; its job may be gone, or raise when its model is read.
    """
    models_of = ((name, getattr(job_registry.find(name), "row_model", None)) for name in job_registry.names())
    return [name for name, model in models_of if model is not None and model._meta.concrete_model not in row.models]
