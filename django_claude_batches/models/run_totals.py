"""What a run comes to so far, over all its batches and attempts: from sums that are kept, never from its results."""

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

PAGE = 5000
"""Delivery chunks that are read in one query: those of five million rows."""


class _ItemCount(Func):
    """How many items a JSON array has. Of a chunk's rows they are many: the database counts them, and keeps them."""

    function = "JSON_ARRAY_LENGTH"
    output_field = IntegerField()

    def as_postgresql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> tuple[str, Any]:
        return super().as_sql(compiler, connection, function="JSONB_ARRAY_LENGTH", **context)

    def as_mysql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> tuple[str, Any]:
        return super().as_sql(compiler, connection, function="JSON_LENGTH", **context)


@dataclass(slots=True)
class RunTotals:
    """The sums of one run. A row is asked in one request, and in one more each time that it is tried again."""

    rows: int
    """Rows that were drafted."""
    left_out: int = 0
    """Rows that could not be asked and were left out of the run; not counted in `rows`."""
    batches: Counter[str] = field(default_factory=Counter)
    """Batches in each state, by the state's value."""
    requests: Counter[int] = field(default_factory=Counter)
    """Requests of each attempt: 1 is the first."""
    body_bytes: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    """What became of the requests whose results were looked at, over all attempts."""
    outcomes_of_batch: dict[int, Counter[str]] = field(default_factory=dict)
    """The same of each batch that was looked at, by its primary key."""
    delivered: int = 0
    """Rows whose answer its handler took."""
    failed: int = 0
    """Rows that failed, and are not asked again by themselves."""
    failed_deliveries: int = 0
    """Rows whose handler raised."""
    gone: int = 0
    """Rows that had an answer, or had failed, when they were there no more."""
    to_retry: int = 0
    """Rows that are asked again and have no usable answer so far."""
    usage: Counter[str] = field(default_factory=Counter)
    """Tokens of each kind, and web searches, over all attempts; by the names of `UsageRollup`'s columns."""
    known_cost_usd: Decimal = Decimal(0)
    batches_of_unknown_cost: int = 0
    """Those that are over, and may have been billed."""

    @property
    def batch_count(self) -> int:
        return self.batches.total()

    @property
    def request_count(self) -> int:
        """Requests of all attempts."""
        return self.requests.total()

    @property
    def handled(self) -> int:
        """Requests whose results were looked at: out of `request_count`, this is how far the run is."""
        return self.outcomes.total()

    @property
    def cost_usd(self) -> Decimal | None:
        """What all attempts cost so far, in USD; None where that of any batch is not known."""
        return None if self.batches_of_unknown_cost else self.known_cost_usd

    @classmethod
    def of(cls, run: JobRun) -> RunTotals:
        """Add up a run, in four queries, and one more for each `PAGE` delivery chunks."""
        return cls.of_each([run])[run.pk]

    @classmethod
    def of_each(cls, runs: Iterable[JobRun], *, with_usage: bool = True) -> dict[int, RunTotals]:
        """Add up each run, by its primary key; in four queries, however many runs they are, or in three."""
        totals = {run.pk: cls(rows=run.row_count, left_out=run.left_out_count) for run in runs}
        using = JobRun.objects.primary().db
        for batches in _batches(totals, using):
            totals[batches["run"]]._add_batches(batches)
        for chunk in _chunks(totals, using):
            totals[chunk["batch__run"]]._add_chunk(chunk)
        for group in _parked(totals, using):
            totals[group["batch__run"]].failed_deliveries = group["count"]
        for used in _usage(totals, using) if with_usage else ():
            totals[used["batch__run"]]._add_usage(used)
        return totals

    @classmethod
    def of_batches(cls, run: JobRun, batches: Iterable[MessageBatch], *, failed_deliveries: int) -> RunTotals:
        """Add up a run, all of whose batches are at hand, and the number of its parked rows; in two queries."""
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
            return  # what else became of its rows is counted where they were handed out before
        self.failed += chunk["failed_count"]
        self.gone += chunk["gone_count"]
        self.to_retry += chunk["to_retry_count"]
        if chunk["mode"] == DeliveryMode.FIRST:
            self.outcomes.update(chunk["outcomes"])
            self.outcomes_of_batch.setdefault(chunk["batch"], Counter()).update(chunk["outcomes"])
            if chunk["batch__run_attempt"] > 1 and chunk["batch__delivered_at"] is None:
                self.to_retry -= sum(chunk["outcomes"].values())  # looked at, though their batch is not through


def _batches(runs: Iterable[int], using: str) -> Any:
    unpriced = Count("pk", filter=Q(state__in=FINAL, cost_usd__isnull=True, request_count__gt=0))
    undelivered = Sum("request_count", filter=Q(delivered_at__isnull=True), default=0)
    groups = MessageBatch.objects.using(using).filter(run__in=runs).order_by().values("run", "state", "run_attempt")
    return groups.annotate(
        count=Count("pk"),
        asked=Sum("request_count"),
        bytes=Sum("body_bytes"),
        cost=Sum("cost_usd"),
        unpriced=unpriced,
        undelivered=undelivered,
    )


def _alone(batch: MessageBatch) -> dict[str, Any]:
    """Give one batch as a group of `_batches`."""
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
    counts = ("delivered_count", "failed_count", "gone_count", "outcomes", "to_retry_count")
    columns = ("batch", "batch__run", "batch__run_attempt", "batch__delivered_at", "mode", *counts)
    for page in pages(chunks, "pk", *columns, size=PAGE):
        yield from (dict(zip(columns, values, strict=True)) for _pk, *values in page)


def _parked(runs: Iterable[int], using: str) -> Any:
    parked = FailedDelivery.objects.using(using).filter(batch__run__in=runs).order_by()
    return parked.values("batch__run").annotate(count=Count("pk"))


def _usage(runs: Iterable[int], using: str) -> Any:
    usage = UsageRollup.objects.using(using).filter(batch__run__in=runs).order_by()
    return usage.values("batch__run").annotate(**{f"{name}_sum": Sum(name, default=0) for name in USAGE_COLUMNS})
