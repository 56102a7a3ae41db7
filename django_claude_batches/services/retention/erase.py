"""Erase what is stored about one row of the project: a purge of its requests, independent of RETENTION.

A process that writes a body, or an error that may quote one, holds a lease: fetching and announcing on the batch,
calling a handler on the delivery, drafting on the run. Erasing acquires the same leases for a moment. So work that
began before has either ended, or has lost its lease and writes nothing more; later work finds the request marked.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import groupby
from typing import Any

from django.db import OperationalError, models, transaction
from django.db.models import F, Q
from django.utils import timezone

from django_claude_batches import job_registry
from django_claude_batches.db.keyset import PAGE_ROWS, sized_pages
from django_claude_batches.db.leases import DatabaseNow, LeasedQuerySet
from django_claude_batches.drafting.body import ENVELOPE, wire_bytes
from django_claude_batches.drafting.target import content_types_of, resolve_target
from django_claude_batches.estimates import ExpectedUsage
from django_claude_batches.exceptions import InvalidRequest
from django_claude_batches.models import (
    AccountState,
    BatchRequest,
    BatchResult,
    DeliveryChunk,
    DeliveryMode,
    FailedDelivery,
    JobRun,
    MessageBatch,
    Outcome,
    ResultProblem,
    RunState,
    State,
    SubmitAttempt,
)
from django_claude_batches.models.batch_state import EDITABLE, RUNNING
from django_claude_batches.models.large_columns import (
    EXCERPTS,
    HAS_ERROR_TEXT,
    MESSAGES,
    PARAMS,
    REMOVED_TEXT,
    clear_error_texts,
    clear_run_texts,
)
from django_claude_batches.models.request import BatchRequestQuerySet
from django_claude_batches.services.account_pauses import clear_pause_reasons
from django_claude_batches.services.connection import require_no_transaction
from django_claude_batches.services.polling.loss import RESULTS_LAST
from django_claude_batches.services.retention.erase_target import EraseTarget, find_target
from django_claude_batches.services.submission.refusals import ACCOUNT_PAUSED

LEASED_ELSEWHERE = "Another process is working on {}. Erase the row again in a moment."

DELIVERY = "the delivery of batch {}"

RUN_BEING_DRAFTED = "Run {} was being drafted, and may ask about the row: erase it again when it is drafted."

BEING_DRAFTED = Q(state=RunState.DRAFTING, paused_at__isnull=True)

WHY_NOT = {
    State.QUEUED: "it is about to be sent as it is. Take it back, or let it be sent, and erase again.",
    State.SUBMITTING: "it is being sent. Erase again when it runs at Anthropic.",
    State.UNCERTAIN: "it may have to be sent again as it is. Erase again when that is known, or abandon it.",
}

MAY_APPEAR = "it was sent once, and may still appear at Anthropic with this request. Submit it or delete it here first."

# Errors of a lock or a deadlock: MariaDB's and MySQL's, PostgreSQL's, SQLite's.
LOCKED = frozenset({1205, 1213, "40001", "40P01", "55P03", "database is locked", "database table is locked"})

# Outcomes of create calls that can no longer make a batch appear at Anthropic.
NEVER_MADE = (Outcome.NOT_SENT, Outcome.REFUSED)


@dataclass(frozen=True, slots=True)
class RemoteCopy:
    """A batch whose request, answer or both are still at Anthropic; `until` is None while the batch runs there.

    `anthropic_id` is empty for a batch that was abandoned: it is unknown whether Anthropic received it. One with
    `is_second` was made by another create call for the same batch: `delete_remote` deletes it once it is adopted.
    """

    batch: int
    anthropic_id: str
    until: datetime | None
    is_second: bool = False


@dataclass(slots=True)
class Erasure:
    """What was erased about one row, what was not, and where copies remain.

    `requests` counts the requests that were emptied, with their answers; `from_drafts` those removed from batches that
    were not sent; `before` those that had been erased already. `refused` lists why something could not be erased,
    `leased` where to try again in a moment. `copies` are at Anthropic: `delete_remote` deletes such a batch there.
    """

    target: str
    requests: int = 0
    from_drafts: int = 0
    before: int = 0
    refused: list[str] = field(default_factory=list)
    leased: list[str] = field(default_factory=list)
    copies: list[RemoteCopy] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether everything was erased from the database."""
        return not self.refused and not self.leased


class _Busy(Exception):
    """Another process holds a required lease; the message names what it is on."""


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
    return erase_target(find_target(content_types.get_for_id(content_type_id), target.pk, name=name), by=by)


def erase_target(row: EraseTarget, *, by: Any = None) -> Erasure:
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
                _run_step(report, partial(_erase_in, batch_id, new, report, by))
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
    except _Busy as busy:
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
    """Whether the database rolled back a transaction because of another one's lock, and not because it is down."""
    code = getattr(error.__cause__, "sqlstate", None) or getattr(error.__cause__, "pgcode", None)
    return code in LOCKED or (error.args[:1] or ("",))[0] in LOCKED


@contextmanager
def _lease(rows: LeasedQuerySet[Any], pk: int, where: str) -> Iterator[str]:
    token = rows.acquire(pk)
    if token is None:
        raise _Busy(where)
    try:
        yield token
    finally:
        rows.release(pk, token)


def _erase_in(batch_id: int, pks: list[int], report: Erasure, by: Any) -> None:
    """Erase some requests of one batch in one transaction, holding the leases of all processes that may write them."""
    using = MessageBatch.objects.primary().db
    batch = MessageBatch.objects.using(using).filter(pk=batch_id).first()
    if batch is None:
        return  # deleted since
    if why := _why_not(batch):
        _refuse(report, batch, why)
        return
    with ExitStack() as stack:
        held: list[tuple[LeasedQuerySet[Any], int, str, str]] = []
        for rows, pk, where in _leases_needed(batch, pks, using=using):
            held.append((rows, pk, stack.enter_context(_lease(rows, pk, where)), where))
        if batch.events.using(using).filter(what=ACCOUNT_PAUSED).exists():  # for a reason that may quote the request
            # Before the transaction, because sending locks the account first. A create call needs the batch's lease.
            clear_pause_reasons(AccountState.objects.using(using).filter(alias=batch.account, paused_at__isnull=False))
        with transaction.atomic(using=using, durable=True):
            for rows, pk, token, where in held:  # renewing locks: the run before its batches, as everywhere
                if not rows.renew(pk, token):
                    raise _Busy(where)
            batch.refresh_from_db(using=using)  # locked: it may have been submitted since it was read
            if why := _why_not(batch):
                _refuse(report, batch, why)
                return
            chunks = [pk for rows, pk, _token, _where in held if rows.model is DeliveryChunk]
            if (
                _deliveries(batch, pks, using=using).exclude(pk__in=chunks).exists()
            ):  # chunks were made since they were leased; impossible now
                raise _Busy(DELIVERY.format(batch))
            requests = BatchRequest.objects.using(using).filter(pk__in=pks)
            if batch.state in EDITABLE:
                _remove_from_draft(batch, requests, using=using)
                report.from_drafts += len(pks)
            else:
                _empty(batch, requests, pks, using=using)
                report.requests += len(pks)
            if batch.pk is not None:
                _clear_error_texts(batch, using=using)
                said = DeliveryChunk.objects.using(using).filter(pk__in=chunks).exclude(last_error="")
                said.update(last_error=REMOVED_TEXT)
                batch.log_event("erased", f"{len(pks):,} requests", by=by)


def _leases_needed(
    batch: MessageBatch, pks: list[int], *, using: str
) -> Iterator[tuple[LeasedQuerySet[Any], int, str]]:
    """Return the rows whose leases are held when a body of these requests, or a text that may quote it, is written."""
    if batch.run_id is not None:
        yield JobRun.objects.using(using), batch.run_id, f"run #{batch.run_id}"
    yield MessageBatch.objects.using(using), batch.pk, f"batch {batch}"
    for pk in list(_deliveries(batch, pks, using=using).order_by("pk").values_list("pk", flat=True)):
        yield DeliveryChunk.objects.using(using), pk, DELIVERY.format(batch)


def _deliveries(batch: MessageBatch, pks: list[int], *, using: str) -> LeasedQuerySet[DeliveryChunk]:
    """Match the deliveries that may still deliver one of these requests."""
    requests = BatchRequest.objects.using(using).filter(pk__in=pks)
    ends = requests.aggregate(first=models.Min("position"), last=models.Max("position"))
    near = {"position__lte": ends["last"] or 0, "last_position__gte": ends["first"] or 0}
    return DeliveryChunk.objects.using(using).undone().filter(batch=batch, **near)


def _why_not(batch: MessageBatch) -> str:
    if why := WHY_NOT.get(State(batch.state)):
        return why
    attempts = batch.attempts.using(MessageBatch.objects.primary().db).exclude(outcome__in=NEVER_MADE)
    return MAY_APPEAR if batch.state in EDITABLE and attempts.exists() else ""


def _refuse(report: Erasure, batch: MessageBatch, why: str) -> None:
    said = f"Batch {batch} is {State(batch.state).label!s}: {why}"
    if said not in report.refused:
        report.refused.append(said)


def _empty(batch: MessageBatch, requests: BatchRequestQuerySet, pks: list[int], *, using: str) -> None:
    """Empty sent requests and their answers, and mark them; their failed deliveries count as gone."""
    requests.update(**PARAMS.empty, erased_at=DatabaseNow())
    BatchResult.objects.using(using).filter(request__in=pks).update(**MESSAGES.empty)
    parked = FailedDelivery.objects.using(using).filter(request__in=pks)
    if count := parked.count():
        chunk = DeliveryChunk.objects.using(using).filter(batch=batch, mode=DeliveryMode.FIRST).order_by("pk").first()
        if chunk is not None:
            DeliveryChunk.objects.using(using).filter(pk=chunk.pk).update(gone_count=F("gone_count") + count)
        parked.delete()


def _remove_from_draft(batch: MessageBatch, requests: BatchRequestQuerySet, *, using: str) -> None:
    """Remove requests from a batch that was not sent. The last request takes each position: positions have no gaps.

    Its run has that many rows less, and the batch is closed for the run: if custom_ids are positions, the next one
    would exist already.
    """
    own = BatchRequest.objects.using(using).filter(batch=batch)
    taken = requests.count()
    expected = ExpectedUsage(batch.expected_usage or ())
    for piece in sized_pages(requests, "pk", F("params_bytes")):
        for request in piece:
            prepared = request.prepared
            expected.add(prepared, times=-1)
            expected.warn(prepared.warnings, prepared.custom_id, times=-1)
            batch.body_bytes -= wire_bytes(prepared) + len(ENVELOPE[1])
            batch.request_count -= 1
            place = own.filter(pk=request.pk).values_list("position", flat=True).get()  # may have been moved above
            own.filter(pk=request.pk)._raw_delete(using)
            own.filter(position=batch.request_count).update(position=place)
    if batch.run_id is not None:
        runs = JobRun.objects.using(using).filter(pk=batch.run_id)
        runs.update(row_count=F("row_count") - taken)
    if batch.request_count == 0:
        batch.erase()
        return
    rows = MessageBatch.objects.using(using).filter(pk=batch.pk)
    counts = {"request_count": batch.request_count, "body_bytes": batch.body_bytes}
    rows.update(**counts, expected_usage=expected.stored(), is_filling=False)


def _clear_error_texts(batch: MessageBatch, *, using: str) -> None:
    clear_error_texts(batch.pk, using=using)
    ResultProblem.objects.using(using).filter(EXCERPTS.full, batch=batch).update(**EXCERPTS.empty)
    if batch.run_id is not None:
        clear_run_texts(JobRun.objects.using(using).filter(pk=batch.run_id))


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
    with _lease(rows, pk, f"run #{pk}") as token:
        clear_run_texts(rows.leased_by(pk, token))


def _jobs_over_others(row: EraseTarget) -> list[str]:
    """Return the names of jobs that are known to be over other models: a run of another job may be about the row.

    A run that paused at the row has no request about it; its job may be gone, or raise when its model is read.
    """
    models_of = ((name, getattr(job_registry.find(name), "row_model", None)) for name in job_registry.names())
    return [name for name, model in models_of if model is not None and model._meta.concrete_model not in row.models]
