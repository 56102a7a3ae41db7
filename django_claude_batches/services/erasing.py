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

from django.db import models, transaction
from django.db.models import F, Q
from django.utils import timezone

from django_claude_batches import registry
from django_claude_batches.estimating import ExpectedUsage
from django_claude_batches.exceptions import InvalidRequest
from django_claude_batches.models import (
    AccountState,
    BatchRequest,
    BatchResult,
    DeliveryChunk,
    DeliveryMode,
    JobRun,
    MessageBatch,
    Outcome,
    ParkedResult,
    ResultProblem,
    RunState,
    State,
)
from django_claude_batches.models.drafting import ENVELOPE, content_types_of, resolve_target, wire_bytes
from django_claude_batches.models.emptying import (
    EXCERPTS,
    HAS_WORDS,
    MESSAGES,
    PARAMS,
    WORDS_GONE,
    forget_words,
    forget_words_of,
)
from django_claude_batches.models.lease import DatabaseNow, LeasedQuerySet
from django_claude_batches.models.pieces import ROWS, pieces
from django_claude_batches.models.request import BatchRequestQuerySet
from django_claude_batches.models.state import EDITABLE, RUNNING
from django_claude_batches.services.connection import outside_transactions
from django_claude_batches.services.vanishing import RESULTS_LAST

AT_WORK = "Another process is working on {}. Erase the row again in a moment."

DELIVERY = "the delivery of batch {}"

WHY_NOT = {
    State.QUEUED: "it is about to be sent as it is. Take it back, or let it be sent, and erase again.",
    State.SUBMITTING: "it is being sent. Erase again when it runs at Anthropic.",
    State.UNCERTAIN: "it may have to be sent again as it is. Erase again when that is known, or give it up.",
}

MAY_APPEAR = "it was sent once, and may still appear at Anthropic with this request. Submit it or delete it here first."

# Outcomes of create calls after which no batch can appear at Anthropic.
NEVER_MADE = (Outcome.NOT_SENT, Outcome.REFUSED)


@dataclass(frozen=True, slots=True)
class RemoteCopy:
    """A batch whose request, answer or both are still at Anthropic; `until` is None while the batch runs there.

    `anthropic_id` is empty for a batch that was given up: it is unknown whether Anthropic received it.
    """

    batch: int
    anthropic_id: str
    until: datetime | None


@dataclass(slots=True)
class Erasure:
    """What was erased about one row, what was not, and where copies remain.

    `requests` counts the requests that were emptied, with their answers; `from_drafts` those removed from batches that
    were not sent; `before` those that had been erased already. `refused` lists why something could not be erased,
    `at_work` where to try again in a moment. `copies` are at Anthropic: `delete_remote` deletes such a batch there.
    """

    target: str
    requests: int = 0
    from_drafts: int = 0
    before: int = 0
    refused: list[str] = field(default_factory=list)
    at_work: list[str] = field(default_factory=list)
    copies: list[RemoteCopy] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether everything was erased from the database."""
        return not self.refused and not self.at_work


class _Busy(Exception):
    """Another process holds a required lease; the message names what it is on."""


def erase(target: models.Model, *, rows_are_replicas: bool = False, by: Any = None) -> Erasure:
    """Remove everything that is stored about one row of the project, and prevent that more is stored later.

    Removed are the params of its requests, their answers and outputs, errors of handlers, and all texts of errors and
    timelines that may quote them, including those about other rows of the same batches, since these cannot be told
    apart. The requests stay, with counts, tokens, costs and the target's key, and are marked: an answer that arrives
    later is counted and dropped. A batch that was not sent loses the request; if it has no other, it is deleted.

    For a deleted row, pass an instance with its primary key, `Review(pk=17)`. `rows_are_replicas` is as for
    `create_draft`. Can be repeated; continues where it was interrupted. Sends no HTTP. Must run outside a transaction.
    Raise InvalidRequest if `target` is not a row, or is one of another database.
    """
    outside_transactions("erase()")
    content_types = content_types_of(BatchRequest.objects.primary().db)
    content_type_id, object_id = resolve_target(target, content_types, rows_are_replicas=rows_are_replicas)
    if content_type_id is None or object_id is None:
        raise InvalidRequest("there is nothing to erase without a row")
    return erase_key(content_type_id, object_id, name=f"{target._meta.label}:{object_id}", by=by)


def erase_key(content_type_id: int, object_id: str, *, name: str, by: Any = None) -> Erasure:
    """Do the same for a content type and a key as text: the model may have been removed too."""
    outside_transactions("erase()")
    report = Erasure(name)
    about = BatchRequest.objects.primary().filter(content_type=content_type_id, object_id=object_id).order_by("pk")
    last = 0
    # Each page is read after the one before is erased, so requests drafted meanwhile are newer, and found.
    while page := list(about.filter(pk__gt=last).values_list("pk", "batch", "erased_at")[:ROWS]):
        for batch_id, rows in groupby(page, key=lambda row: row[1]):
            found = list(rows)
            new = [pk for pk, _batch, erased_at in found if erased_at is None]
            report.before += len(found) - len(new)
            if new:
                _try(report, partial(_erase_in, batch_id, new, report, by))
            _note_copy(report, batch_id)
        last = page[-1][0]
    _forget_runs(report, content_type_id)
    return report


def _try(report: Erasure, step: partial[None]) -> None:
    try:
        step()
    except _Busy as busy:
        said = AT_WORK.format(busy)
        if said not in report.at_work:
            report.at_work.append(said)


@contextmanager
def _lease(rows: LeasedQuerySet[Any], pk: int, where: str) -> Iterator[str]:
    token = rows.claim(pk)
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
        return  # deleted meanwhile
    if why := _why_not(batch):
        _refuse(report, batch, why)
        return
    with ExitStack() as stack:
        held: list[tuple[LeasedQuerySet[Any], int, str, str]] = []
        for rows, pk, where in _writers(batch, pks, using=using):
            held.append((rows, pk, stack.enter_context(_lease(rows, pk, where)), where))
        # Before the transaction, because sending locks the account first. A create call would need the batch's lease.
        paused = AccountState.objects.using(using).filter(alias=batch.account, paused_at__isnull=False)
        paused.exclude(pause_reason__in=["", WORDS_GONE]).update(pause_reason=WORDS_GONE)
        with transaction.atomic(using=using, durable=True):
            for rows, pk, token, where in held:  # renewing locks: the run before its batches, as everywhere
                if not rows.renew(pk, token):
                    raise _Busy(where)
            batch.refresh_from_db(using=using)  # locked: it may have been submitted meanwhile
            if why := _why_not(batch):
                _refuse(report, batch, why)
                return
            chunks = [pk for rows, pk, _token, _where in held if rows.model is DeliveryChunk]
            if _deliveries(batch, pks, using=using).exclude(pk__in=chunks).exists():  # cut meanwhile, impossible now
                raise _Busy(DELIVERY.format(batch))
            requests = BatchRequest.objects.using(using).filter(pk__in=pks)
            if batch.state in EDITABLE:
                _take_out(batch, requests, using=using)
                report.from_drafts += len(pks)
            else:
                _empty(batch, requests, pks, using=using)
                report.requests += len(pks)
            if batch.pk is not None:
                _forget(batch, using=using)
                said = DeliveryChunk.objects.using(using).filter(pk__in=chunks).exclude(last_error="")
                said.update(last_error=WORDS_GONE)
                batch.note("erased", f"{len(pks):,} requests", by=by)


def _writers(batch: MessageBatch, pks: list[int], *, using: str) -> Iterator[tuple[LeasedQuerySet[Any], int, str]]:
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
    """Empty requests that were sent, with their answers, and mark them; count their parked rows as gone."""
    requests.update(**PARAMS.empty, erased_at=DatabaseNow())
    BatchResult.objects.using(using).filter(request__in=pks).update(**MESSAGES.empty)
    parked = ParkedResult.objects.using(using).filter(request__in=pks)
    if count := parked.count():
        chunk = DeliveryChunk.objects.using(using).filter(batch=batch, mode=DeliveryMode.FIRST).order_by("pk").first()
        if chunk is not None:
            DeliveryChunk.objects.using(using).filter(pk=chunk.pk).update(gone_count=F("gone_count") + count)
        parked.delete()


def _take_out(batch: MessageBatch, requests: BatchRequestQuerySet, *, using: str) -> None:
    """Remove requests from a batch that was not sent. The last request takes each position: positions have no gaps.

    The batch is closed for its run: if custom_ids are positions, the next one would exist already.
    """
    own = BatchRequest.objects.using(using).filter(batch=batch)
    expected = ExpectedUsage(batch.expected_usage or ())
    for piece in pieces(requests, "pk", F("params_bytes")):
        for request in piece:
            prepared = request.prepared
            expected.add(prepared, times=-1)
            expected.warn(prepared.warnings, prepared.custom_id, times=-1)
            batch.body_bytes -= wire_bytes(prepared) + len(ENVELOPE[1])
            batch.request_count -= 1
            place = own.filter(pk=request.pk).values_list("position", flat=True).get()  # may have been moved above
            own.filter(pk=request.pk)._raw_delete(using)
            own.filter(position=batch.request_count).update(position=place)
    if batch.request_count == 0:
        batch.erase()
        return
    rows = MessageBatch.objects.using(using).filter(pk=batch.pk)
    counts = {"request_count": batch.request_count, "body_bytes": batch.body_bytes}
    rows.update(**counts, expected_usage=expected.stored(), is_filling=False)


def _forget(batch: MessageBatch, *, using: str) -> None:
    forget_words(batch.pk, using=using)
    ResultProblem.objects.using(using).filter(EXCERPTS.full, batch=batch).update(**EXCERPTS.empty)
    if batch.run_id is not None:
        forget_words_of(JobRun.objects.using(using).filter(pk=batch.run_id))


def _note_copy(report: Erasure, batch_id: int) -> None:
    """Report what Anthropic still has. It keeps results for 29 days from the creation of a batch."""
    rows = MessageBatch.objects.primary().filter(pk=batch_id, remote_deleted_at__isnull=True, archived_at__isnull=True)
    for batch in rows.filter(Q(anthropic_id__isnull=False) | Q(state=State.ABANDONED)).exclude(state=State.LOST):
        made_at = batch.created_at or batch.queued_at
        until = None if batch.state in RUNNING or made_at is None else made_at + RESULTS_LAST
        copy = RemoteCopy(batch.pk, batch.anthropic_id or "", until)
        if copy not in report.copies and (until is None or until > timezone.now()):
            report.copies.append(copy)


def _forget_runs(report: Erasure, content_type_id: int) -> None:
    """Empty the texts of runs over the row's model: a run that paused at the row has no request about it."""
    model = content_types_of(JobRun.objects.primary().db).get_for_id(content_type_id).model_class()
    jobs = [name for name in registry.names() if _is_over(registry.find(name), model)]
    runs = JobRun.objects.primary().filter(job__in=jobs)
    for pk in list(runs.filter(HAS_WORDS).order_by("pk").values_list("pk", flat=True)):
        _try(report, partial(_forget_run, pk))
    for run in runs.filter(state=RunState.DRAFTING, paused_at__isnull=True).order_by("pk"):
        report.at_work.append(
            f"Run {run} is being drafted, and may ask about the row. Erase the row again when it is drafted."
        )


def _forget_run(pk: int) -> None:
    rows = JobRun.objects.primary()
    with _lease(rows, pk, f"run #{pk}") as token:
        forget_words_of(rows.held(pk, token))


def _is_over(job: registry.Job | None, model: type[models.Model] | None) -> bool:
    rows = None if job is None else job.row_model
    return rows is not None and model is not None and rows._meta.concrete_model is model._meta.concrete_model
