"""One transaction of a delivery: some rows, what their job does with them, and the mark that it did."""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import Any

from django.db import Error as DatabaseError
from django.db import models, transaction
from django.db.models import F, Value
from django.db.models.functions import Coalesce

from django_claude_batches import registry
from django_claude_batches.models import BatchRequest, BatchResult, DeliveryChunk, DeliveryMode
from django_claude_batches.models.delivery import ONCE_MORE
from django_claude_batches.models.lease import LEASE, DatabaseNow, after
from django_claude_batches.models.outputs import write_outputs
from django_claude_batches.models.pieces import pieces
from django_claude_batches.services.ingestion import LeaseLost
from django_claude_batches.services.runs import handing
from django_claude_batches.services.runs.handing import (
    Key,
    guarded,
    is_there,
    missing_result,
    result_of,
    targets_of,
)
from django_claude_batches.services.runs.judging import Judge
from django_claude_batches.services.runs.outcomes import Outcome
from django_claude_batches.services.runs.recounting import recount
from django_claude_batches.services.runs.tally import Tally

logger = logging.getLogger(__name__)

SECONDS = 10.0
"""After which a transaction ends before its rows do: handlers may be slow, and others wait for what they locked."""

BYTES_OF_A_TOKEN = 6
"""At most, about: so that no transaction reads more than 8 MB of answers, however long each is."""


def waiting(chunk: DeliveryChunk, *, using: str) -> models.QuerySet[BatchRequest]:
    """Match the requests that a chunk has still to hand out."""
    rows = BatchRequest.objects.using(using).filter(
        batch=chunk.batch_id, position__range=(chunk.position, chunk.last_position)
    )
    if chunk.mode == DeliveryMode.PARKED:
        rows = rows.filter(parked__isnull=False)
    return rows if chunk.positions is None else rows.filter(position__in=chunk.positions)


def _let_go(requests: list[BatchRequest]) -> None:
    """Part requests and results: they hold each other, and would stay until Python's collector comes by."""
    for request in requests:
        request._state.fields_cache.clear()


class Piece:
    """The next rows of a chunk, and what is done with them: all of it is there after the commit, or none.

    `alone`: no more than one row.
    """

    def __init__(self, pk: int, token: str, job: registry.Job, *, alone: bool = False) -> None:
        self._pk = pk
        self._token = token
        self._job = job
        self._alone = alone
        self._using = DeliveryChunk.objects.primary().db
        self._tally = Tally()
        self._parked: dict[int, bool] = {}
        """The position of each row that is handed out and was parked, and whether it counts as delivered."""

    def hand_over(self) -> bool:
        """Hand the rows out, and give whether the chunk has more; nothing where its lease is lost or its run paused."""
        return self._transact(None)

    def park(self, error: Exception) -> bool:
        """Park the row that could not be handed out, and give whether the chunk has more."""
        return self._transact(error)

    def _transact(self, error: Exception | None) -> bool:
        requests: list[BatchRequest] = []
        try:
            with transaction.atomic(using=self._using, durable=True):
                if not self._begin():
                    return False
                requests += self._read()
                if error is None:
                    self._hand_all(requests)
                elif requests:
                    self._park_unread(requests[0], error)
                else:
                    raise error
                return self._mark()
        except LeaseLost:
            logger.warning("Delivery %s: another process has it now.", self._pk)
            return False
        finally:
            if self._tally.first_error is not None:
                text = "Batch %s: the job's code raised for %d of %d rows, which are parked. The first:"
                counts = len(self._tally.parked), len(self._tally.handed)
                logger.error(text, self._chunk.batch_id, *counts, exc_info=self._tally.first_error)
            _let_go(requests)

    def _begin(self) -> bool:
        """Heartbeat, fence and row lock in one: who comes when the lease is over waits for the commit, and is late."""
        rows = DeliveryChunk.objects.using(self._using)
        if not rows.renew(self._pk, self._token):
            return False
        self._chunk = rows.select_related("batch__run").get(pk=self._pk)
        self._batch = self._chunk.batch
        self._judge = Judge(self._job, self._batch, using=self._using)
        return self._batch.run is None or not self._batch.run.is_paused

    def _read(self) -> list[BatchRequest]:
        rows = waiting(self._chunk, using=self._using)
        size = Coalesce(F("result__output_tokens"), Value(0)) * BYTES_OF_A_TOKEN
        piece = rows.order_by("position")[:1] if self._alone else next(pieces(rows, "position", size), None)
        if piece is None:
            return []
        piece = piece.select_related("result").defer("params_text", "result__raw")
        if self._chunk.mode in ONCE_MORE:
            piece = piece.select_related("parked").defer("parked__traceback")
        found = list(piece)
        for request in found:
            request.batch = self._batch
            if (result := result_of(request)) is not None:
                result.batch, result.request = self._batch, request
            if self._chunk.mode in ONCE_MORE and hasattr(request, "parked"):
                self._parked[request.position] = request.parked.was_delivered
        return found

    def _hand_all(self, requests: list[BatchRequest]) -> None:
        """Hand the requests out until the time is over."""
        targets = targets_of(requests, using=self._using)
        give_up_at = time.monotonic() + SECONDS
        for request in requests:
            self._tally.handed.append(request)
            self._hand(request, targets)
            if time.monotonic() > give_up_at:
                break

    def _hand(self, request: BatchRequest, targets: dict[Key, models.Model]) -> None:
        result = result_of(request)
        try:
            outcome = self._outcome(request, result)
        except DatabaseError:
            raise
        except Exception as error:  # noqa: BLE001 (a validator is the project's code)
            self._park(request, Outcome.SUCCEEDED, error)
            return
        self._tally.outcomes[outcome] += 1
        if outcome == Outcome.SUCCEEDED and result is not None:
            self._call(request, result, outcome, targets)
        elif self._chunk.mode != DeliveryMode.AGAIN:
            self._fail(request, result, outcome, targets)
        else:
            self._tally.passed_over.add(request.pk)

    def _outcome(self, request: BatchRequest, result: BatchResult | None) -> str:
        """Judge the request; one that failed when its handler raised has failed, whatever it is read as now."""
        if self._had_failed(request):
            return request.parked.outcome
        return self._judge.outcome(result)

    def _had_failed(self, request: BatchRequest) -> bool:
        return self._chunk.mode == DeliveryMode.PARKED and request.parked.outcome != Outcome.SUCCEEDED

    def _fail(
        self, request: BatchRequest, result: BatchResult | None, outcome: str, targets: dict[Key, models.Model]
    ) -> None:
        if self._chunk.mode == DeliveryMode.FIRST:
            change = self._judge.next_try(request, result, outcome)
            if change is not None:
                self._tally.to_retry.append([request.position, change])
                return
        if not self._had_failed(request):
            self._tally.failed.append([request.position, outcome])
        self._call(request, result or missing_result(request), outcome, targets)

    def _call(self, request: BatchRequest, result: BatchResult, outcome: str, targets: dict[Key, models.Model]) -> None:
        target = targets.get((request.content_type_id or 0, request.object_id or ""))
        if target is None:
            self._gone(request)
            return
        is_success = outcome == Outcome.SUCCEEDED
        handler = self._job.on_result if is_success else self._job.on_failure
        error = guarded(lambda: handler(target, result), using=self._using)
        if error is not None and not is_there(target):
            self._gone(request)
        elif error is not None:
            self._park(request, outcome, error)
        elif is_success:
            self._tally.delivered.append(request.position)

    def _gone(self, request: BatchRequest) -> None:
        self._tally.gone += 1
        if self._chunk.mode == DeliveryMode.AGAIN:  # of which that is not counted: what is parked stays so
            self._tally.passed_over.add(request.pk)

    def _park(self, request: BatchRequest, outcome: str, error: Exception) -> None:
        self._tally.parked.append(handing.parked(request, outcome, error))
        self._tally.first_error = self._tally.first_error or error

    def _park_unread(self, request: BatchRequest, error: Exception) -> None:
        """Park a row whose transaction failed, for a reason that is perhaps not its handler's."""
        self._tally.handed.append(request)
        result = result_of(request)
        outcome = Outcome.MISSING if result is None else result.outcome
        if self._had_failed(request):
            outcome = request.parked.outcome
        elif outcome != Outcome.SUCCEEDED and self._chunk.mode != DeliveryMode.AGAIN:
            self._tally.failed.append([request.position, outcome])
        self._tally.outcomes[outcome] += 1
        self._park(request, outcome, error)

    def _mark(self) -> bool:
        """Write what became of the rows; give whether the chunk has more."""
        chunk, tally = self._chunk, self._tally
        write_outputs(self._judge.changed, using=self._using)
        recount(chunk, tally, self._parked, using=self._using)
        if tally.parked or chunk.mode != DeliveryMode.FIRST or chunk.positions is not None:
            handed = [request for request in tally.handed if request.pk not in tally.passed_over]
            handing.park(handed, tally.parked, using=self._using)
        more = bool(tally.handed) and tally.handed[-1].position < chunk.last_position
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
            "lease_until": after(LEASE),
            # One after the other, whatever killed the processes before may still be ahead.
            "tries": chunk.tries if self._alone else 1,
            "last_error": "",
        }
        if tally.handed:
            changes["position"] = tally.handed[-1].position + 1
        return changes if more else changes | {"done_at": DatabaseNow(), "next_action_at": None, "tries": 0}
