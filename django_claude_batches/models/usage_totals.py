"""Reports of usage and cost, from the stored sums of batches (`UsageRollup`). Results are never read.

Days, weeks (beginning on Monday) and months are in the current time zone. Their boundaries are computed in Python:
MariaDB cannot convert times to a zone unless its time zone tables are loaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import reduce
from itertools import islice
from operator import add
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F, Func, IntegerField, Max, Min, QuerySet, Sum
from django.db.models.sql.compiler import SQLCompiler
from django.utils import timezone

from django_claude_batches.exceptions import LimitExceeded
from django_claude_batches.models.usage import UsageRollup, rounded
from django_claude_batches.sanitize import FIRST_YEAR, LAST_YEAR

PERIODS = ("day", "week", "month")

# What usage is grouped and filtered by, besides periods: the public name, and the column. A job's name is the `kind` of
# its batches.
GROUPS = {"model": "model", "job": "kind", "account": "account", "starter": "starter"}

# Maximum number of periods in one report: the days of a year and a month.
MAX_PERIODS = 400

# Maximum combinations of model, job, account and starter that `UsageReport.choices` reads.
MAX_CHOICES = 1_000

# The first and the last day that a report can have, on every database.
FIRST_DAY, LAST_DAY = date(FIRST_YEAR, 1, 1), date(LAST_YEAR, 12, 31)


@dataclass(frozen=True, slots=True)
class UsageSums:
    """Sums of usage, in numbers of tokens. `cost_usd` is in USD, without the unknown cost of `unpriced_results`."""

    cost_usd: Decimal = Decimal(0)
    # Requests that were answered. Failed ones are not billed, and not counted.
    requests: int = 0
    unpriced_results: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    cache_read_tokens: int = 0
    web_search_requests: int = 0

    def __add__(self, other: UsageSums) -> UsageSums:
        return UsageSums(*(getattr(self, name) + getattr(other, name) for name in SUMS))

    @property
    def cache_write_tokens(self) -> int:
        return self.cache_write_5m_tokens + self.cache_write_1h_tokens

    @property
    def cache_read_share(self) -> float | None:
        """Return the share of prompt tokens that were read from the cache, from 0 to 1; None without prompt tokens."""
        prompt = self.input_tokens + self.cache_write_tokens + self.cache_read_tokens
        return self.cache_read_tokens / prompt if prompt else None

    @property
    def known_cost_usd(self) -> Decimal | None:
        """Return the known cost in USD; None if it is 0 only because the cost of some results is not known."""
        return None if self.unpriced_results and not self.cost_usd else self.cost_usd


SUMS = tuple(each.name for each in fields(UsageSums))
_COLUMNS = {name: "results" if name == "requests" else name for name in SUMS}


@dataclass(frozen=True, slots=True)
class UsageRow:
    """The sums of one group. `keys` has a value for each name that it is grouped by; a period is its first day."""

    keys: tuple[Any, ...]
    sums: UsageSums


class _PeriodNumber(Func):
    """The index of a row's period among those that begin at `starts`, by a binary search on `ended_at`.

    A year of days takes 9 comparisons. This is one expression because Django takes longer to resolve nested `Case`
    expressions than the query takes.
    """

    output_field = IntegerField()

    def __init__(self, starts: Sequence[datetime]) -> None:
        super().__init__("ended_at")
        self.starts = starts

    def as_sql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, *args: Any, **context: Any
    ) -> tuple[str, Any]:
        (column,) = self.source_expressions
        sql, _params = compiler.compile(column)
        params: list[Any] = []

        def search(low: int, high: int) -> str:
            if high - low == 1:
                return str(low)
            middle = (low + high) // 2
            params.append(column.output_field.get_db_prep_value(self.starts[middle], connection))
            return f"CASE WHEN {sql} < %s THEN {search(low, middle)} ELSE {search(middle, high)} END"

        return search(0, len(self.starts)), params


@dataclass(frozen=True)
class UsageReport:
    """The usage in `rows` from the day `since` to the day `until`, both included; None means no limit.

    `only` selects by names of `GROUPS`; values must be equal.
    """

    rows: QuerySet[UsageRollup]
    since: date | None = None
    until: date | None = None
    only: Mapping[str, str] = field(default_factory=dict)

    def by(self, *names: str) -> list[UsageRow]:
        """Return the sums by these names of `PERIODS` and `GROUPS`. Two queries.

        The rows are in order of time, and within a period by cost, the largest first. Raise LimitExceeded if there are
        more than `MAX_PERIODS` periods from the first usage to the last.
        """
        rows = self._selected()
        first, last = rows.aggregate(first=Min("ended_at"), last=Max("ended_at")).values()
        if first is None:
            return []
        starts = {name: period_starts(name, _day_of(first), _day_of(last)) for name in names if name in PERIODS}
        # Leave out rows that were added since that query: they may belong to a later period.
        counted = rows.filter(ended_at__range=(first, last))
        return sorted(_grouped(counted, names, starts), key=_order)

    def months(self, names: Sequence[str] = (), rows: Iterable[UsageRow] = ()) -> tuple[UsageSums, UsageSums]:
        """Return the sums of this month and of the last month, whatever the report's period is. `only` applies.

        `rows` can be the result of `by(*names)`: if it covers both months by day or month, no query is made, otherwise
        one.
        """
        this = timezone.localdate().replace(day=1)
        last = (this - timedelta(days=1)).replace(day=1)
        has_both = self.until is None and (self.since is None or self.since <= last)
        if not (has_both and [*names[:1]] in (["day"], ["month"])):
            selected = replace(self, since=last, until=last_day("month", this))._selected()
            rows = _grouped(selected, ["month"], {"month": [last, this]})
        found = {this: UsageSums(), last: UsageSums()}
        for row in rows:
            month = row.keys[0].replace(day=1)
            found[month] = found.get(month, UsageSums()) + row.sums
        return found[this], found[last]

    def choices(self) -> dict[str, list[str]]:
        """Return the values that occur in the report's period for each of `GROUPS`, ignoring `only`. One query."""
        rows = replace(self, only={})._selected().order_by().values_list(*GROUPS.values()).distinct()
        found = list(rows[:MAX_CHOICES])
        return {name: sorted({values[at] for values in found}) for at, name in enumerate(GROUPS)}

    def _selected(self) -> QuerySet[UsageRollup]:
        rows = self.rows.filter(**{GROUPS[name]: value for name, value in self.only.items()})
        if self.since is not None:
            rows = rows.filter(ended_at__gte=_midnight(self.since))
        if self.until is not None:
            rows = rows.filter(ended_at__lt=_midnight(self.until + timedelta(days=1)))
        return rows


def sums_of(rows: QuerySet[UsageRollup]) -> UsageSums:
    """Return the sums of these rows. One query."""
    return _read(rows.order_by().aggregate(**_sums()))


def total_of(rows: Iterable[UsageRow]) -> UsageSums:
    return reduce(add, (row.sums for row in rows), UsageSums())


def period_starts(period: str, first: date, last: date) -> list[date]:
    """Return the first days of the days, weeks or months from `first` to `last`.

    Raise LimitExceeded if there are more than `MAX_PERIODS`.
    """
    starts = list(islice(_starts(period, first, last), MAX_PERIODS + 1))
    if len(starts) > MAX_PERIODS:
        raise LimitExceeded(f"More than {MAX_PERIODS} {period}s: choose a shorter time or longer periods.")
    return starts


def last_day(period: str, start: date) -> date:
    """Return the last day of the period that begins on `start`."""
    return _next(period, start) - timedelta(days=1)


def _starts(period: str, first: date, last: date) -> Iterator[date]:
    start = first - timedelta(days=first.weekday()) if period == "week" else first
    start = first.replace(day=1) if period == "month" else start
    while start <= last:
        yield start
        start = _next(period, start)


def _next(period: str, start: date) -> date:
    if period == "month":
        return (start + timedelta(days=31)).replace(day=1)
    return start + timedelta(days=7 if period == "week" else 1)


def _midnight(day: date) -> datetime:
    """Return when the day begins: at one o'clock if the clocks are put forward at midnight."""
    return timezone.make_aware(datetime.combine(day, time.min))


def _day_of(at: datetime) -> date:
    return timezone.localtime(at).date()


def _sums() -> dict[str, Any]:
    return {f"{name}_sum": Sum(column, default=0) for name, column in _COLUMNS.items()}


def _read(group: Mapping[str, Any]) -> UsageSums:
    counts = {name: int(group[f"{name}_sum"]) for name in SUMS if name != "cost_usd"}
    return UsageSums(cost_usd=rounded(Decimal(group["cost_usd_sum"])), **counts)


def _grouped(
    rows: QuerySet[UsageRollup], names: Iterable[str], starts: Mapping[str, Sequence[date]]
) -> Iterator[UsageRow]:
    """Yield the sums by these names. For each name that is a period, `starts` has the first days of all periods."""
    numbers = {name: _PeriodNumber([_midnight(start) for start in each]) for name, each in starts.items()}
    keys = {f"by_{name}": numbers.get(name) or F(GROUPS[name]) for name in names}
    groups: Any = rows.order_by().values(**keys).annotate(**_sums())
    return (_row(names, group, starts) for group in groups)


def _row(names: Iterable[str], group: Mapping[str, Any], starts: Mapping[str, Sequence[date]]) -> UsageRow:
    values = {name: group[f"by_{name}"] for name in names}
    keys = (starts[name][value] if name in starts else value for name, value in values.items())
    return UsageRow(tuple(keys), _read(group))


def _order(row: UsageRow) -> Any:
    times = [key for key in row.keys if isinstance(key, date)]
    return times, -row.sums.cost_usd, -row.sums.requests, [str(key) for key in row.keys]
