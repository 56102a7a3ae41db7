"""The next rows of a chunk: read, and their answers checked, before the transaction in which they are delivered."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import NamedTuple

from django.db import Error as DatabaseError
from django.db import models
from django.db.models import F, Value
from django.db.models.functions import Coalesce

from django_claude_batches.db.keyset import sized_pages
from django_claude_batches.job_registry import Job
from django_claude_batches.models import BatchRequest, BatchResult, DeliveryChunk, DeliveryMode, FailedDelivery
from django_claude_batches.models.delivery import REDELIVERY_MODES
from django_claude_batches.printable import get_logger
from django_claude_batches.services.delivery.evaluation import RowOutcome, evaluate_result

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
    """The rows of one transaction, and the failed deliveries of those redelivered, by the request's primary key."""

    chunk: DeliveryChunk
    requests: list[BatchRequest]
    failures: dict[int, EarlierFailure]

    def failed_as(self, request: BatchRequest) -> str:
        """Return how a request failed whose `on_failure` raised; empty for others.

        It counts as failed, even if its answer is usable now.
        """
        if self.chunk.mode != DeliveryMode.FAILED:
            return ""
        outcome = self.failures[request.pk].outcome
        return "" if outcome == RowOutcome.SUCCEEDED else outcome

    def is_outdated(self, chunk: DeliveryChunk, *, using: str) -> bool:
        """Return whether another process delivered some of the rows since they were read; `chunk` was read just now."""
        if chunk.mode not in REDELIVERY_MODES:
            return chunk.position != self.chunk.position
        rows = FailedDelivery.objects.using(using).filter(request__in=[request.pk for request in self.requests])
        failures = rows.values_list("request", "outcome", "was_delivered")
        now = {pk: EarlierFailure(outcome, was_delivered) for pk, outcome, was_delivered in failures}
        return (chunk.position, now) != (self.chunk.position, self.failures)

    def set_chunk(self, chunk: DeliveryChunk) -> None:
        """Set the chunk on the slice, and its batch on the requests and their results."""
        self.chunk = chunk
        for request in self.requests:
            request.batch = chunk.batch
            if (result := result_of(request)) is not None:
                result.request, result.batch = request, chunk.batch

    def break_reference_cycles(self) -> None:
        """Separate requests from their results, so that memory is freed at once."""
        for request in self.requests:
            request._state.fields_cache.clear()


def undelivered_requests(chunk: DeliveryChunk, *, using: str) -> models.QuerySet[BatchRequest]:
    """Match the requests of a chunk that are still to be delivered."""
    rows = BatchRequest.objects.using(using).filter(
        batch=chunk.batch_id, position__range=(chunk.position, chunk.last_position)
    )
    if chunk.mode == DeliveryMode.FAILED:
        rows = rows.filter(failed_delivery__isnull=False)
    return rows if chunk.positions is None else rows.filter(position__in=chunk.positions)


def read_chunk(pk: int, token: str, *, using: str) -> DeliveryChunk | None:
    """Return the chunk with its batch and run; None if the lease is lost or the run is paused."""
    rows = DeliveryChunk.objects.using(using).leased_by(pk, token)
    chunk = rows.select_related("batch__run").first()
    if chunk is None:
        logger.warning("Delivery %s: another process has it now.", pk)
        return None
    return None if chunk.batch.run is not None and chunk.batch.run.is_paused else chunk


def read_slice(chunk: DeliveryChunk, *, alone: bool, using: str) -> Slice:
    """Read the next rows of a chunk: up to 1,000, or about 8 MB of answers; one if `alone`. None of them is locked."""
    found = undelivered_requests(chunk, using=using)
    size = Coalesce(F("result__output_tokens"), Value(0)) * BYTES_PER_TOKEN
    page = found.order_by("position")[:1] if alone else next(sized_pages(found, "position", size), found.none())
    page = page.select_related("result").defer("params_text", "result__raw")
    failures: dict[int, EarlierFailure] = {}
    if chunk.mode in REDELIVERY_MODES:
        page = page.select_related("failed_delivery").defer("failed_delivery__traceback")
        failed = [request.failed_delivery for request in page if hasattr(request, "failed_delivery")]
        failures = {row.request_id: EarlierFailure(row.outcome, row.was_delivered) for row in failed}
    rows = Slice(chunk, list(page), failures)
    rows.set_chunk(chunk)
    return rows


def evaluate(rows: Slice, job: Job) -> tuple[list[str | Exception], list[BatchResult]]:
    """Check the answers until the time is over: the other rows are left to the next transaction.

    Return the outcome of each request, or what the job's validator raised, and the results whose `output` changed.
    """
    outcomes: list[str | Exception] = []
    changed: list[BatchResult] = []
    stop_at = time.monotonic() + MAX_EVALUATION_SECONDS
    for request in rows.requests:
        outcomes.append(_evaluate(request, rows, job, changed))
        if time.monotonic() > stop_at:
            break
    return outcomes, changed


def _evaluate(request: BatchRequest, rows: Slice, job: Job, changed: list[BatchResult]) -> str | Exception:
    if failed_as := rows.failed_as(request):
        return failed_as
    result = result_of(request)
    if result is None:
        return RowOutcome.MISSING
    if request.erased_at is None:  # else its answer is erased too
        try:
            if evaluate_result(result, job):
                changed.append(result)
        except DatabaseError:
            raise
        except Exception as error:  # noqa: BLE001 (a validator is the project's code)
            return error
    return result.outcome


def result_of(request: BatchRequest) -> BatchResult | None:
    """Return the request's result; None if none came."""
    result: BatchResult | None = getattr(request, "result", None)
    return result
