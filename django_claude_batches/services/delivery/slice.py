"""The next rows of a chunk: read, and their answers checked, before the transaction in which they are delivered."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import NamedTuple

from django.db import Error as DatabaseError
from django.db import models
from django.db.models import F, Value
from django.db.models.functions import Coalesce

from django_claude_batches.db.keyset import sized_pages
from django_claude_batches.job_registry import Job
from django_claude_batches.models import BatchRequest, BatchResult, DeliveryChunk, DeliveryMode, FailedDelivery
from django_claude_batches.models.delivery import REDELIVERY_MODES
from django_claude_batches.sanitize import get_logger
from django_claude_batches.services.delivery.retry_rules import RowOutcome

logger = get_logger(__name__)

# After this, no further answer is checked for one transaction: if its handlers are slow, the checks were in vain.
MAX_EVALUATION_SECONDS = 1.0

# About the most bytes that a token has: a transaction reads 8 MB of answers at most, however long each of them is.
BYTES_PER_TOKEN = 6


class EarlierFailure(NamedTuple):
    """A failed delivery of a row that is redelivered: what it was delivered as, and whether the row is counted."""

    outcome: str
    was_delivered: bool


@dataclass(slots=True)
class Slice:
    """The rows of one transaction, as they were read before it.

    The first of them are evaluated: `outcomes` has their outcomes, or what the job's validator raised, and `changed`
    the results whose `output` is new. `failures` are by the request's primary key.
    """

    chunk: DeliveryChunk
    requests: list[BatchRequest]
    failures: dict[int, EarlierFailure]
    outcomes: list[str | Exception] = field(default_factory=list)
    changed: list[BatchResult] = field(default_factory=list)
    # How many more answers do not fit their job's schema than before.
    invalid_count: int = 0

    def lock(self, token: str, *, using: str) -> bool:
        """Renew the lease; return whether the rows may be delivered as they were read. Call it inside the transaction.

        They may not if the lease is lost, if the run is paused, or if another process delivered some of them.
        """
        # This also locks the row: a worker whose lease expired blocks until this commits, then finds it lost.
        if not DeliveryChunk.objects.using(using).renew(self.chunk.pk, token):
            return False
        chunk = _read_chunk(self.chunk.pk, token, using=using)
        if chunk is None or chunk.position != self.chunk.position:
            return False
        self.set_chunk(chunk)
        if chunk.mode not in REDELIVERY_MODES:
            return True
        rows = FailedDelivery.objects.using(using).filter(request__in=[request.pk for request in self.requests])
        failures = rows.values_list("request", "outcome", "was_delivered")
        return self.failures == {pk: EarlierFailure(outcome, was_counted) for pk, outcome, was_counted in failures}

    def set_chunk(self, chunk: DeliveryChunk) -> None:
        """Set the chunk, and its batch on the requests and their results."""
        self.chunk = chunk
        for request in self.requests:
            request.batch = chunk.batch
            if (result := result_of(request)) is not None:
                result.batch = chunk.batch

    def failed_as(self, request: BatchRequest) -> str:
        """Return the outcome of a request whose `on_failure` raised; empty for others.

        It counts as failed, even if its answer is usable now.
        """
        if self.chunk.mode != DeliveryMode.FAILED:
            return ""
        outcome = self.failures[request.pk].outcome
        return "" if outcome == RowOutcome.SUCCEEDED else outcome


def undelivered_requests(chunk: DeliveryChunk, *, using: str) -> models.QuerySet[BatchRequest]:
    """Match the requests of a chunk that are still to be delivered."""
    rows = BatchRequest.objects.using(using).filter(
        batch=chunk.batch_id, position__range=(chunk.position, chunk.last_position)
    )
    if chunk.mode == DeliveryMode.FAILED:
        rows = rows.filter(failed_delivery__isnull=False)
    return rows if chunk.positions is None else rows.filter(position__in=chunk.positions)


def read_slice(pk: int, token: str, job: Job | None, *, alone: bool, using: str) -> Slice | None:
    """Read the next rows of a chunk, none of which is locked, and check their answers unless `job` is None.

    They are up to 1,000, or have about 8 MB of answers; with `alone` it is one. Return None if the lease is lost or the
    run is paused.
    """
    chunk = _read_chunk(pk, token, using=using)
    if chunk is None:
        return None
    found = undelivered_requests(chunk, using=using)
    size = Coalesce(F("result__output_tokens"), Value(0)) * BYTES_PER_TOKEN
    page = found.order_by("position")[:1] if alone else next(sized_pages(found, "position", size), found.none())
    page = page.select_related("result").defer("params_text", "cells_text", "result__raw")
    failures: dict[int, EarlierFailure] = {}
    if chunk.mode in REDELIVERY_MODES:
        page = page.select_related("failed_delivery").defer("failed_delivery__traceback")
        failed = [request.failed_delivery for request in page if hasattr(request, "failed_delivery")]
        failures = {row.request_id: EarlierFailure(row.outcome, row.was_delivered) for row in failed}
    rows = Slice(chunk, list(page), failures)
    rows.set_chunk(chunk)
    if job is not None:
        _evaluate_rows(rows, job)
    return rows


def _read_chunk(pk: int, token: str, *, using: str) -> DeliveryChunk | None:
    """Return the chunk with its batch and run; None if the lease is lost or the run is paused."""
    rows = DeliveryChunk.objects.using(using).leased_by(pk, token)
    chunk = rows.select_related("batch__run").first()
    if chunk is None:
        logger.warning("Delivery %s: another process has it now.", pk)
        return None
    return None if chunk.batch.run is not None and chunk.batch.run.is_paused else chunk


def _evaluate_rows(rows: Slice, job: Job) -> None:
    """Check the answers until the time is over: the other rows are left to the next transaction."""
    stop_at = time.monotonic() + MAX_EVALUATION_SECONDS
    for request in rows.requests:
        rows.outcomes.append(_evaluate(request, rows, job))
        if time.monotonic() > stop_at:
            break


def _evaluate(request: BatchRequest, rows: Slice, job: Job) -> str | Exception:
    result = result_of(request)
    if failed_as := rows.failed_as(request):
        return failed_as
    if result is None:
        return RowOutcome.MISSING
    if request.erased_at is not None:  # its answer was erased
        return result.outcome
    before = result.output, result.output_error
    result.output_error = None
    try:
        if result.outcome == RowOutcome.SUCCEEDED:
            result.output_error = job.read_output(result)
    except DatabaseError:
        raise
    except Exception as error:  # noqa: BLE001 (a validator is the project's code)
        return error
    if (result.output, result.output_error) != before:
        rows.changed.append(result)
        rows.invalid_count += (result.output_error is not None) - (before[1] is not None)
    return result.outcome


def result_of(request: BatchRequest) -> BatchResult | None:
    """Return the request's result; None if none came."""
    result: BatchResult | None = getattr(request, "result", None)
    return result
