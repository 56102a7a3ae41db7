"""Erase some requests of one batch, with their answers, in one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from django.db import models, transaction
from django.db.models import F

from django_claude_batches.db.keyset import sized_pages
from django_claude_batches.db.leases import DatabaseNow, LeasedQuerySet
from django_claude_batches.drafting.body import ENVELOPE, wire_bytes
from django_claude_batches.estimates import ExpectedUsage
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
    State,
)
from django_claude_batches.models.batch_state import EDITABLE
from django_claude_batches.models.large_columns import (
    EXCERPTS,
    MESSAGES,
    PARAMS,
    REMOVED_TEXT,
    clear_error_texts,
    clear_run_texts,
)
from django_claude_batches.models.request import BatchRequestQuerySet
from django_claude_batches.services.account_pauses import clear_pause_reasons
from django_claude_batches.services.retention.erasure import Erasure
from django_claude_batches.services.submission.refusals import ACCOUNT_PAUSED

DELIVERY = "the delivery of batch {}"

WHY_NOT = {
    State.QUEUED: "it is about to be sent as it is. Take it back, or let it be sent, and erase again.",
    State.SUBMITTING: "it is being sent. Erase again when it runs at Anthropic.",
    State.UNCERTAIN: "it may have to be sent again as it is. Erase again when that is known, or abandon it.",
}

MAY_APPEAR = "it was sent once, and may still appear at Anthropic with this request. Submit it or delete it here first."

# Outcomes of create calls after which no batch can appear at Anthropic.
NEVER_MADE = (Outcome.NOT_SENT, Outcome.REFUSED)


class Busy(Exception):
    """Another process holds a required lease; the message names what it is on."""


@contextmanager
def lease(rows: LeasedQuerySet[Any], pk: int, where: str) -> Iterator[str]:
    with rows.lease(pk) as token:
        if token is None:
            raise Busy(where)
        yield token


def erase_requests(batch_id: int, pks: list[int], report: Erasure, by: Any) -> None:
    """Erase some requests of one batch in one transaction, holding the leases of all processes that may write them."""
    using = MessageBatch.objects.primary().db
    batch = MessageBatch.objects.using(using).filter(pk=batch_id).first()
    if batch is None:
        return  # deleted since it was listed
    if why := _why_not(batch):
        _refuse(report, batch, why)
        return
    with ExitStack() as stack:
        held: list[tuple[LeasedQuerySet[Any], int, str, str]] = []
        for rows, pk, where in _leases_needed(batch, pks):
            held.append((rows, pk, stack.enter_context(lease(rows, pk, where)), where))
        if batch.events.using(using).filter(what=ACCOUNT_PAUSED).exists():  # for a reason that may quote the request
            # Before the transaction, because sending locks the account first. A create call needs the batch's lease.
            clear_pause_reasons(AccountState.objects.using(using).filter(alias=batch.account, paused_at__isnull=False))
        with transaction.atomic(using=using, durable=True):
            for rows, pk, token, where in held:  # renewing locks: the run before its batches, as everywhere
                if not rows.renew(pk, token):
                    raise Busy(where)
            batch.refresh_from_db(using=using)  # locked: it may have been submitted since
            if why := _why_not(batch):
                _refuse(report, batch, why)
                return
            chunks = [pk for rows, pk, _token, _where in held if rows.model is DeliveryChunk]
            if _deliveries(batch, pks).exclude(pk__in=chunks).exists():  # made since, impossible now
                raise Busy(DELIVERY.format(batch))
            requests = BatchRequest.objects.using(using).filter(pk__in=pks)
            if batch.state in EDITABLE:
                _remove_from_draft(batch, requests)
                report.from_drafts += len(pks)
            else:
                _empty(batch, requests, pks)
                report.requests += len(pks)
            if batch.pk is not None:
                clear_error_texts(batch.pk, using=using)
                ResultProblem.objects.using(using).filter(EXCERPTS.full, batch=batch).update(**EXCERPTS.empty)
                if batch.run_id is not None:
                    clear_run_texts(JobRun.objects.using(using).filter(pk=batch.run_id))
                said = DeliveryChunk.objects.using(using).filter(pk__in=chunks).exclude(last_error="")
                said.update(last_error=REMOVED_TEXT)
                batch.log_event("erased", f"{len(pks):,} requests", by=by)


def _leases_needed(batch: MessageBatch, pks: list[int]) -> Iterator[tuple[LeasedQuerySet[Any], int, str]]:
    """Return the rows whose leases are held when a body of these requests, or a text that may quote it, is written."""
    if batch.run_id is not None:
        yield JobRun.objects.primary(), batch.run_id, f"run #{batch.run_id}"
    yield MessageBatch.objects.primary(), batch.pk, f"batch {batch}"
    for pk in list(_deliveries(batch, pks).order_by("pk").values_list("pk", flat=True)):
        yield DeliveryChunk.objects.primary(), pk, DELIVERY.format(batch)


def _deliveries(batch: MessageBatch, pks: list[int]) -> LeasedQuerySet[DeliveryChunk]:
    """Match the deliveries that may still deliver one of these requests."""
    requests = BatchRequest.objects.primary().filter(pk__in=pks)
    ends = requests.aggregate(first=models.Min("position"), last=models.Max("position"))
    near = {"position__lte": ends["last"] or 0, "last_position__gte": ends["first"] or 0}
    return DeliveryChunk.objects.primary().undone().filter(batch=batch, **near)


def _why_not(batch: MessageBatch) -> str:
    if why := WHY_NOT.get(State(batch.state)):
        return why
    attempts = batch.attempts.using(MessageBatch.objects.primary().db).exclude(outcome__in=NEVER_MADE)
    return MAY_APPEAR if batch.state in EDITABLE and attempts.exists() else ""


def _refuse(report: Erasure, batch: MessageBatch, why: str) -> None:
    said = f"Batch {batch} is {State(batch.state).label!s}: {why}"
    if said not in report.refused:
        report.refused.append(said)


def _empty(batch: MessageBatch, requests: BatchRequestQuerySet, pks: list[int]) -> None:
    """Empty requests that were sent, with their answers, and mark them; count their failed rows as gone."""
    requests.update(**PARAMS.empty, erased_at=DatabaseNow())
    BatchResult.objects.primary().filter(request__in=pks).update(**MESSAGES.empty)
    failed = FailedDelivery.objects.primary().filter(request__in=pks)
    if count := failed.count():
        chunk = DeliveryChunk.objects.primary().filter(batch=batch, mode=DeliveryMode.FIRST).order_by("pk").first()
        if chunk is not None:
            DeliveryChunk.objects.primary().filter(pk=chunk.pk).update(gone_count=F("gone_count") + count)
        failed.delete()


def _remove_from_draft(batch: MessageBatch, requests: BatchRequestQuerySet) -> None:
    """Remove requests from a batch that was not sent. The last request takes each position: positions have no gaps.

    Its run has that many rows less, and the batch is closed for the run: if custom_ids are positions, the next one
    would exist already.
    """
    own = BatchRequest.objects.primary().filter(batch=batch)
    taken = requests.count()
    expected = ExpectedUsage(batch.expected_usage or ())
    for piece in sized_pages(requests, "pk", PARAMS.size):
        for request in piece:
            prepared = request.prepared
            expected.add(prepared, times=-1)
            expected.warn(prepared.warnings, prepared.custom_id, times=-1)
            batch.body_bytes -= wire_bytes(prepared) + len(ENVELOPE[1])
            batch.request_count -= 1
            place = own.filter(pk=request.pk).values_list("position", flat=True).get()  # may have been moved above
            own.filter(pk=request.pk)._raw_delete(own.db)
            own.filter(position=batch.request_count).update(position=place)
    if batch.run_id is not None:
        JobRun.objects.primary().filter(pk=batch.run_id).update(row_count=F("row_count") - taken)
    if batch.request_count == 0:
        batch.erase()
        return
    rows = MessageBatch.objects.primary().filter(pk=batch.pk)
    counts = {"request_count": batch.request_count, "body_bytes": batch.body_bytes}
    rows.update(**counts, expected_usage=expected.stored(), is_filling=False)
