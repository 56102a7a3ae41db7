"""One transaction of a delivery: some rows, what their job does with them, and the mark that it did."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from django.db import Error as DatabaseError
from django.db import models, transaction
from django.db.models import F, Value
from django.db.models.functions import Coalesce

from django_claude_batches import job_registry
from django_claude_batches.db.keyset import sized_pages
from django_claude_batches.db.leases import LEASE, DatabaseNow, now_plus
from django_claude_batches.models import BatchRequest, BatchResult, DeliveryChunk, DeliveryMode, FailedDelivery
from django_claude_batches.models.bulk import write_outputs
from django_claude_batches.models.delivery import REDELIVERY_MODES
from django_claude_batches.sanitize import get_logger
from django_claude_batches.services.delivery import handlers
from django_claude_batches.services.delivery.counts import DeliveryCounts, recount
from django_claude_batches.services.delivery.evaluation import ResultEvaluator, RowOutcome
from django_claude_batches.services.delivery.handlers import (
    TargetKey,
    call_handler,
    missing_result,
    result_of,
    targets_of,
)
from django_claude_batches.services.ingestion.ingest import LeaseLost

logger = get_logger(__name__)

MAX_TRANSACTION_SECONDS = 10.0
"""After which a transaction ends before its rows do: handlers may be slow, and others wait for what they locked."""

MAX_EVALUATION_SECONDS = 1.0
"""After which no further answer is checked for one transaction: if its handlers are slow, these checks were in vain."""

BYTES_PER_TOKEN = 6
"""At most, about: so that no transaction reads more than 8 MB of answers, however long each is."""


def undelivered_requests(chunk: DeliveryChunk, *, using: str) -> models.QuerySet[BatchRequest]:
    """Match the requests that a chunk has still to hand out."""
    rows = BatchRequest.objects.using(using).filter(
        batch=chunk.batch_id, position__range=(chunk.position, chunk.last_position)
    )
    if chunk.mode == DeliveryMode.FAILED:
        rows = rows.filter(failed_delivery__isnull=False)
    return rows if chunk.positions is None else rows.filter(position__in=chunk.positions)


def _break_reference_cycles(requests: list[BatchRequest]) -> None:
    """Part requests and results: they hold each other, and would stay until Python's collector comes by."""
    for request in requests:
        request._state.fields_cache.clear()


class DeliveryTransaction:
    """The next rows of a chunk, and what is done with them: all of it is there after the commit, or none.

    The rows are read, and their answers checked, before the transaction: a check may take a while, and nobody waits for
    it. The transaction begins only if the chunk and its rows still are what was read. `alone`: no more than one row.
    """

    def __init__(self, pk: int, token: str, job: job_registry.Job, *, alone: bool = False) -> None:
        self._pk = pk
        self._token = token
        self._job = job
        self._alone = alone
        self._using = DeliveryChunk.objects.primary().db
        self._tally = DeliveryCounts()
        self._requests: list[BatchRequest] = []
        self._outcomes: dict[int, str | Exception] = {}
        """What was found of each request, by its primary key: its outcome, or what the job's validator raised."""
        self._failures: dict[int, tuple[str, bool]] = {}
        """By the primary key of each row that was parked: its outcome, and whether it counts as delivered."""

    def deliver(self) -> bool:
        """Hand the rows out, and give whether the chunk has more; nothing where its lease is lost or its run paused."""
        return self._read() and self._evaluate_all() and self._transact(None)

    def record_failure(self, error: Exception) -> bool:
        """Park the row that could not be handed out, and give whether the chunk has more."""
        return self._read() and self._transact(error)

    def _read(self) -> bool:
        """Read the chunk and its next rows; nothing of it is locked. Give whether the chunk is ours to deliver."""
        if not self._read_chunk():
            return False
        self._evaluator = ResultEvaluator(self._job, self._batch, using=self._using)
        rows = undelivered_requests(self._chunk, using=self._using)
        size = Coalesce(F("result__output_tokens"), Value(0)) * BYTES_PER_TOKEN
        piece = rows.order_by("position")[:1] if self._alone else next(sized_pages(rows, "position", size), None)
        if piece is not None:
            piece = piece.select_related("result").defer("params_text", "result__raw")
            if self._chunk.mode in REDELIVERY_MODES:
                piece = piece.select_related("failed_delivery").defer("failed_delivery__traceback")
            self._requests = list(piece)
        for request in self._requests:
            if (result := result_of(request)) is not None:
                result.request = request
            if self._chunk.mode in REDELIVERY_MODES and hasattr(request, "failed_delivery"):
                self._failures[request.pk] = (request.failed_delivery.outcome, request.failed_delivery.was_delivered)
        return True

    def _read_chunk(self) -> bool:
        rows = DeliveryChunk.objects.using(self._using).leased_by(self._pk, self._token)
        chunk = rows.select_related("batch__run").first()
        if chunk is None:
            logger.warning("Delivery %s: another process has it now.", self._pk)
            return False
        self._chunk, self._batch = chunk, chunk.batch
        return self._batch.run is None or not self._batch.run.is_paused

    def _failures_now(self) -> dict[int, tuple[str, bool]]:
        if self._chunk.mode not in REDELIVERY_MODES:
            return {}
        pks = [request.pk for request in self._requests]
        rows = FailedDelivery.objects.using(self._using).filter(request__in=pks)
        return {pk: (outcome, was) for pk, outcome, was in rows.values_list("request", "outcome", "was_delivered")}

    def _evaluate_all(self) -> bool:
        """Check the answers until the time is over, and leave the other rows to the next piece."""
        give_up_at = time.monotonic() + MAX_EVALUATION_SECONDS
        for request in self._requests:
            self._outcomes[request.pk] = self._evaluate(request)
            if time.monotonic() > give_up_at:
                break
        del self._requests[len(self._outcomes) :]
        self._failures = {pk: parked for pk, parked in self._failures.items() if pk in self._outcomes}
        return True

    def _evaluate(self, request: BatchRequest) -> str | Exception:
        """Judge the request; one that failed when its handler raised has failed, whatever it is read as now."""
        if self._failed_before(request):
            return self._failures[request.pk][0]
        result = result_of(request)
        if request.erased_at is not None:  # its answer was erased
            return RowOutcome.MISSING if result is None else result.outcome
        if result is not None:
            result.batch = self._batch
        try:
            return self._evaluator.outcome(result)
        except DatabaseError:
            raise
        except Exception as error:  # noqa: BLE001 (a validator is the project's code)
            return error

    def _failed_before(self, request: BatchRequest) -> bool:
        return self._chunk.mode == DeliveryMode.FAILED and self._failures[request.pk][0] != RowOutcome.SUCCEEDED

    def _transact(self, error: Exception | None) -> bool:
        requests = self._requests
        try:
            with transaction.atomic(using=self._using, durable=True):
                before = self._chunk.position, self._failures
                if not self._begin():
                    return False
                if before != (self._chunk.position, self._failures_now()):
                    return True  # others were here meanwhile: what was read is not so any more
                if error is None:
                    self._deliver_all(requests)
                elif requests:
                    self._record_failure(requests[0], error)
                else:
                    raise error
                return self._record_progress()
        except LeaseLost:
            logger.warning("Delivery %s: another process has it now.", self._pk)
            return False
        finally:
            if self._tally.first_error is not None:
                text = "Batch %s: the job's code raised for %d of %d rows, which are parked. The first:"
                counts = len(self._tally.parked), len(self._tally.processed)
                logger.error(text, self._chunk.batch_id, *counts, exc_info=self._tally.first_error)
            _break_reference_cycles(requests)

    def _begin(self) -> bool:
        """Renew the lease, which also locks the row, and give the rows the batch as it is now.

        A worker whose lease expired blocks until this commits, then finds it lost.
        """
        rows = DeliveryChunk.objects.using(self._using)
        if not rows.renew(self._pk, self._token):
            return False
        may_go_on = self._read_chunk()
        self._evaluator.batch = self._batch
        for request in self._requests:
            request.batch = self._batch
            if (result := result_of(request)) is not None:
                result.batch = self._batch
        return may_go_on

    def _deliver_all(self, requests: list[BatchRequest]) -> None:
        """Hand the requests out until the time is over."""
        targets = targets_of(requests, self._job, using=self._using)
        give_up_at = time.monotonic() + MAX_TRANSACTION_SECONDS
        for request in requests:
            self._tally.processed.append(request)
            self._deliver_request(request, targets)
            if time.monotonic() > give_up_at:
                break

    def _deliver_request(self, request: BatchRequest, targets: dict[TargetKey, models.Model]) -> None:
        result, outcome = result_of(request), self._outcomes[request.pk]
        if isinstance(outcome, Exception):
            self._add_failure(request, RowOutcome.SUCCEEDED, outcome)
            return
        self._tally.outcomes[outcome] += 1
        if request.erased_at is not None:
            self._gone(request)
        elif outcome == RowOutcome.SUCCEEDED and result is not None:
            self._call(request, result, outcome, targets)
        elif self._chunk.mode != DeliveryMode.REDELIVER:
            self._fail(request, result, outcome, targets)
        else:
            self._tally.passed_over.add(request.pk)

    def _fail(
        self, request: BatchRequest, result: BatchResult | None, outcome: str, targets: dict[TargetKey, models.Model]
    ) -> None:
        if self._chunk.mode == DeliveryMode.FIRST:
            change = self._evaluator.change_for_retry(request, result, outcome)
            if change is not None:
                self._tally.to_retry.append([request.position, change])
                return
        if not self._failed_before(request):
            self._tally.failed.append([request.position, outcome])
        self._call(request, result or missing_result(request), outcome, targets)

    def _target_exists(self, request: BatchRequest) -> bool:
        """Look whether the request's target was not deleted since it was fetched."""
        return _key_of(request) in targets_of([request], self._job, using=self._using)

    def _call(
        self, request: BatchRequest, result: BatchResult, outcome: str, targets: dict[TargetKey, models.Model]
    ) -> None:
        target = targets.get(_key_of(request))
        if target is None:
            self._gone(request)
            return
        is_success = outcome == RowOutcome.SUCCEEDED
        handler = "on_result" if is_success else "on_failure"
        error = call_handler(self._job, handler, target, result, using=self._using)
        if error is not None and not self._target_exists(request):
            self._gone(request)
        elif error is not None:
            self._add_failure(request, outcome, error)
        elif is_success:
            self._tally.delivered.append(request.position)

    def _gone(self, request: BatchRequest) -> None:
        self._tally.gone += 1
        if self._chunk.mode == DeliveryMode.REDELIVER:  # of which that is not counted: what is parked stays so
            self._tally.passed_over.add(request.pk)

    def _add_failure(self, request: BatchRequest, outcome: str, error: Exception) -> None:
        self._tally.parked.append(handlers.failed_delivery(request, outcome, error))
        self._tally.first_error = self._tally.first_error or error

    def _record_failure(self, request: BatchRequest, error: Exception) -> None:
        """Park a row whose transaction failed, for a reason that is perhaps not its handler's."""
        self._tally.processed.append(request)
        result = result_of(request)
        outcome = RowOutcome.MISSING if result is None else result.outcome
        if self._failed_before(request):
            outcome = self._failures[request.pk][0]
        elif outcome != RowOutcome.SUCCEEDED and self._chunk.mode != DeliveryMode.REDELIVER:
            self._tally.failed.append([request.position, outcome])
        self._tally.outcomes[outcome] += 1
        self._add_failure(request, outcome, error)

    def _record_progress(self) -> bool:
        """Write what became of the rows; give whether the chunk has more."""
        chunk, tally = self._chunk, self._tally
        write_outputs(self._evaluator.changed, using=self._using)
        places = {request.pk: request.position for request in self._requests}
        parked = {places[pk]: was_delivered for pk, (_outcome, was_delivered) in self._failures.items()}
        recount(chunk, tally, parked, using=self._using)
        if tally.parked or chunk.mode != DeliveryMode.FIRST or chunk.positions is not None:
            handed = [request for request in tally.processed if request.pk not in tally.passed_over]
            handlers.replace_failed_deliveries(handed, tally.parked, using=self._using)
        more = bool(tally.processed) and tally.processed[-1].position < chunk.last_position
        # The row is ours since we renewed the lease, however long ago: to ask for the time too would lose work.
        row = DeliveryChunk.objects.using(self._using).filter(pk=chunk.pk, lease_token=self._token)
        if not row.update(**self._changes(more=more)):
            raise LeaseLost(f"The lease on delivery {chunk.pk} is lost.")
        return more

    def _changes(self, *, more: bool) -> dict[str, Any]:
        chunk, tally = self._chunk, self._tally
        changes: dict[str, Any] = {
            "outcomes": dict(Counter(chunk.outcomes) + tally.outcomes),
            "delivered_count": chunk.delivered_count + len(tally.delivered) - tally.delivered_before,
            "failed_count": chunk.failed_count + len(tally.failed),
            "gone_count": chunk.gone_count + tally.gone,
            "failed": chunk.failed + tally.failed,
            "to_retry": chunk.to_retry + tally.to_retry,
            "lease_until": now_plus(LEASE),
            # One after the other, whatever killed the processes before may still be ahead.
            "tries": chunk.tries if self._alone else 1,
            "last_error": "",
        }
        if tally.processed:
            changes["position"] = tally.processed[-1].position + 1
        return changes if more else changes | {"done_at": DatabaseNow(), "next_action_at": None, "tries": 0}


def _key_of(request: BatchRequest) -> TargetKey:
    return request.content_type_id or 0, request.object_id or ""
