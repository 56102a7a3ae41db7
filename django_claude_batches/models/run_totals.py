"""Totals of a run over all batches and attempts, from stored sums; results are never scanned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Count, Func, IntegerField, Q, Sum
from django.db.models.sql.compiler import SQLCompiler

from django_claude_batches.db.keyset import pages
from django_claude_batches.models.batch.batch import MessageBatch
from django_claude_batches.models.batch_state import FINAL
from django_claude_batches.models.delivery import DeliveryChunk, DeliveryMode, FailedDelivery
from django_claude_batches.models.run import JobRun
from django_claude_batches.models.usage import USAGE_COLUMNS, UsageRollup, rounded

# Delivery chunks per query; 5,000 chunks are five million rows.
PAGE = 5000


class _ItemCount(Func):
    """The number of items in a JSON array, counted by the database because the arrays of a chunk may be long."""

    function = "JSON_ARRAY_LENGTH"
    output_field = IntegerField()

    def as_postgresql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> tuple[str, Any]:
        return super().as_sql(compiler, connection, function="JSONB_ARRAY_LENGTH", **context)

    def as_mysql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> tuple[str, Any]:
        return super().as_sql(compiler, connection, function="JSON_LENGTH", **context)


@dataclass(slots=True)
class RunTotals:
    """The totals of one run. Each row has one request, and one more for each retry."""

    #: Rows that were drafted.
    rows: int
    #: Rows that could not be sent and were left out; not included in `rows`.
    left_out: int = 0
    #: Batches in each state, by the state's value.
    batches: Counter[str] = field(default_factory=Counter)
    #: Requests of each attempt; the first attempt is 1.
    requests: Counter[int] = field(default_factory=Counter)
    body_bytes: int = 0
    #: Outcomes of the requests whose results were evaluated, over all attempts.
    outcomes: Counter[str] = field(default_factory=Counter)
    #: Outcomes for each batch whose results were evaluated, by its primary key.
    outcomes_of_batch: dict[int, Counter[str]] = field(default_factory=dict)
    #: Rows whose answer the handler accepted.
    delivered: int = 0
    #: Rows that failed and are not retried automatically, by outcome; includes canceled rows.
    failures: Counter[str] = field(default_factory=Counter)
    #: Rows whose handler raised.
    failed_deliveries: int = 0
    #: Rows that had been deleted when their answer or failure was to be delivered.
    gone: int = 0
    #: Rows that are retried and have no usable answer so far.
    to_retry: int = 0
    #: Tokens of each kind, and web searches, over all attempts; by the names of `UsageRollup`'s columns.
    usage: Counter[str] = field(default_factory=Counter)
    known_cost_usd: Decimal = Decimal(0)
    #: Finished batches that may have been billed and whose cost is not known.
    batches_of_unknown_cost: int = 0

    @property
    def batch_count(self) -> int:
        return self.batches.total()

    @property
    def request_count(self) -> int:
        """Return the number of requests of all attempts."""
        return self.requests.total()

    @property
    def handled(self) -> int:
        """Return the number of requests whose results were evaluated: the run's progress, out of `request_count`."""
        return self.outcomes.total()

    @property
    def canceled(self) -> int:
        """Return the number of rows whose requests were canceled. They are not failures."""
        return self.failures["canceled"]

    @property
    def failed(self) -> int:
        """Return the number of rows that failed and are not retried automatically, without canceled rows."""
        return self.failures.total() - self.canceled

    @property
    def cost_usd(self) -> Decimal | None:
        """Return what all attempts cost so far, in USD; None if the cost of any finished batch is not known."""
        return None if self.batches_of_unknown_cost else self.known_cost_usd

    @classmethod
    def of(cls, run: JobRun) -> RunTotals:
        """Compute the totals of a run, in four queries, and one more for each `PAGE` (5,000) delivery chunks."""
        return cls.of_each([run])[run.pk]

    @classmethod
    def of_each(cls, runs: Iterable[JobRun], *, with_usage: bool = True) -> dict[int, RunTotals]:
        """Compute the totals of each run, by its primary key, in three or four queries, whatever the number of runs."""
        totals = {run.pk: cls(rows=run.row_count, left_out=run.left_out_count) for run in runs}
        using = JobRun.objects.primary().db
        for batches in _batches(totals, using):
            totals[batches["run"]]._add_batches(batches)
        for chunk in _chunks(totals, using):
            totals[chunk["batch__run"]]._add_chunk(chunk)
        for group in _failed_deliveries(totals, using):
            totals[group["batch__run"]].failed_deliveries = group["count"]
        for used in _usage(totals, using) if with_usage else ():
            totals[used["batch__run"]]._add_usage(used)
        return totals

    @classmethod
    def of_batches(cls, run: JobRun, batches: Iterable[MessageBatch], *, failed_deliveries: int) -> RunTotals:
        """Compute the totals of a run from all of its batches and its number of failed deliveries, in two queries."""
        totals = cls(rows=run.row_count, left_out=run.left_out_count, failed_deliveries=failed_deliveries)
        using = JobRun.objects.primary().db
        for batch in batches:
            totals._add_batches(_alone(batch))
        for chunk in _chunks([run.pk], using):
            totals._add_chunk(chunk)
        for used in _usage([run.pk], using):
            totals._add_usage(used)
        return totals

    def _add_usage(self, used: dict[str, Any]) -> None:
        self.usage.update({name: int(used[f"{name}_sum"]) for name in USAGE_COLUMNS})

    def _add_batches(self, group: dict[str, Any]) -> None:
        self.batches[group["state"]] += group["count"]
        self.requests[group["run_attempt"]] += group["asked"]
        self.body_bytes += group["bytes"]
        self.known_cost_usd += rounded(group["cost"] or Decimal(0))
        self.batches_of_unknown_cost += group["unpriced"]
        if group["run_attempt"] > 1:
            self.to_retry += group["undelivered"]

    def _add_chunk(self, chunk: dict[str, Any]) -> None:
        self.delivered += chunk["delivered_count"]
        if chunk["mode"] == DeliveryMode.REDELIVER:
            return  # the other outcomes were counted at the first delivery
        self.failures.update(chunk["failed_outcomes"])
        self.gone += chunk["gone_count"]
        self.to_retry += chunk["to_retry_count"]
        if chunk["mode"] == DeliveryMode.FIRST:
            self.outcomes.update(chunk["outcomes"])
            self.outcomes_of_batch.setdefault(chunk["batch"], Counter()).update(chunk["outcomes"])
            if chunk["batch__run_attempt"] > 1 and chunk["batch__delivered_at"] is None:
                self.to_retry -= sum(chunk["outcomes"].values())  # already evaluated, though not all of the batch is


def _batches(runs: Iterable[int], using: str) -> Any:
    groups = MessageBatch.objects.using(using).filter(run__in=runs).order_by().values("run", "state", "run_attempt")
    return groups.annotate(
        count=Count("pk"),
        asked=Sum("request_count"),
        bytes=Sum("body_bytes"),
        cost=Sum("cost_usd"),
        unpriced=Count("pk", filter=Q(state__in=FINAL, cost_usd__isnull=True, request_count__gt=0)),
        undelivered=Sum("request_count", filter=Q(delivered_at__isnull=True), default=0),
    )


def _alone(batch: MessageBatch) -> dict[str, Any]:
    """Return one batch as a group of `_batches`."""
    has_unknown_cost = batch.state in FINAL and batch.cost_usd is None and batch.request_count > 0
    return {
        "state": batch.state,
        "run_attempt": batch.run_attempt,
        "count": 1,
        "asked": batch.request_count,
        "bytes": batch.body_bytes,
        "cost": batch.cost_usd,
        "unpriced": int(has_unknown_cost),
        "undelivered": 0 if batch.delivered_at else batch.request_count,
    }


def _chunks(runs: Iterable[int], using: str) -> Iterator[dict[str, Any]]:
    chunks = (
        DeliveryChunk.objects.using(using).filter(batch__run__in=runs).annotate(to_retry_count=_ItemCount("to_retry"))
    )
    counts = ("delivered_count", "failed_outcomes", "gone_count", "outcomes", "to_retry_count")
    columns = ("batch", "batch__run", "batch__run_attempt", "batch__delivered_at", "mode", *counts)
    for page in pages(chunks, "pk", *columns, size=PAGE):
        yield from (dict(zip(columns, values, strict=True)) for _pk, *values in page)


def _failed_deliveries(runs: Iterable[int], using: str) -> Any:
    failed = FailedDelivery.objects.using(using).filter(batch__run__in=runs).order_by()
    return failed.values("batch__run").annotate(count=Count("pk"))


def _usage(runs: Iterable[int], using: str) -> Any:
    usage = UsageRollup.objects.using(using).filter(batch__run__in=runs).order_by()
    return usage.values("batch__run").annotate(**{f"{name}_sum": Sum(name, default=0) for name in USAGE_COLUMNS})
