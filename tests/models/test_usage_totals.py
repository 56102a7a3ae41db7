"""Usage reports agree with the sums of the results, by day, week and month in several time zones."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from django_claude_batches.exceptions import LimitExceeded
from django_claude_batches.models import BatchResult, MessageBatch, State, UsageRollup
from django_claude_batches.models.usage import MAX_BATCH_TOKENS
from django_claude_batches.models.usage_totals import (
    GROUPS,
    MAX_PERIODS,
    PERIODS,
    UsageReport,
    UsageSums,
    last_day,
    period_starts,
    sums_of,
    total_of,
)
from tests.harness.selections import slow_but

pytestmark = [pytest.mark.django_db, pytest.mark.database]

ZONES = ["Europe/Berlin", "America/Sao_Paulo", "Pacific/Apia", "Asia/Kathmandu", "UTC"]
MODELS = ["claude-haiku-4-5", "claude-opus-5", "Claude-opus-5", ""]
TOKENS = (
    *("input_tokens", "output_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens"),
    *("cache_read_tokens", "web_search_requests"),
)


def report(**options: Any) -> UsageReport:
    return UsageReport(UsageRollup.objects.all(), **options)


def live(batch: dict[str, Any], results: list[dict[str, Any]]) -> MessageBatch:
    """Return a complete batch with these results, whose usage is summed up."""
    now = timezone.now()
    made = MessageBatch.objects.create(
        **batch, state=State.INGESTED, processing_status="ended", ingested_at=now, announced_at=now
    )
    answers = [BatchResult(batch=made, custom_id=f"r-{number}", **result) for number, result in enumerate(results)]
    BatchResult.objects.bulk_create(answers)
    UsageRollup.objects.replace(made, UsageRollup.objects.sum_up(made.pk))
    return made


@pytest.fixture
def quarter() -> int:
    """Three months of batches of four models and two accounts, some of them a minute from a boundary of a day."""
    rng = random.Random(20)
    began = datetime(2026, 8, 1, tzinfo=UTC)
    for number in range(60):
        ended = began + timedelta(minutes=rng.randrange(91 * 24 * 60))
        if number % 3 == 0:
            ended = ended.replace(hour=rng.choice([0, 3, 22, 23]), minute=rng.choice([0, 59]))
        batch = {
            "anthropic_id": f"msgbatch_{number}",
            "ended_at": ended,
            "account": rng.choice(["default", "second"]),
            "kind": rng.choice(["tags", "Tags", ""]),
            "created_by_name": rng.choice(["ada", "Ada", "ida", ""]),
        }
        live(batch, [_result(rng) for _ in range(rng.randrange(6))])
    return MessageBatch.objects.count()


def _result(rng: random.Random) -> dict[str, Any]:
    if rng.random() < 0.2:
        return {"result_type": rng.choice(["errored", "canceled", "expired"]), "cost_usd": 0}
    cost = None if rng.random() < 0.2 else Decimal(rng.randrange(10**9)).scaleb(-9)
    tokens = {name: rng.choice([None, 0, rng.randrange(10**6)]) for name in TOKENS}
    return {"result_type": "succeeded", "model": rng.choice(MODELS), "cost_usd": cost, **tokens}


def expected(key: Callable[[BatchResult], Any], **only: Any) -> dict[Any, UsageSums]:
    """Sum up the results themselves."""
    sums: dict[Any, UsageSums] = defaultdict(UsageSums)
    for result in BatchResult.objects.filter(result_type="succeeded", **only).select_related("batch"):
        sums[key(result)] += UsageSums(
            result.cost_usd or Decimal(0),
            1,
            result.cost_usd is None,
            *(getattr(result, name) or 0 for name in TOKENS),
        )
    return dict(sums)


def day_of(result: BatchResult) -> date:
    assert result.batch.ended_at is not None
    return timezone.localtime(result.batch.ended_at).date()


KEYS: dict[str, Callable[[BatchResult], Any]] = {
    "day": day_of,
    "week": lambda result: day_of(result) - timedelta(days=day_of(result).weekday()),
    "month": lambda result: day_of(result).replace(day=1),
    "model": lambda result: result.model,
    "job": lambda result: result.batch.kind,
    "account": lambda result: result.batch.account,
    "starter": lambda result: result.batch.created_by_name,
}


def found(*names: str, **options: Any) -> dict[Any, UsageSums]:
    return {row.keys: row.sums for row in report(**options).by(*names)}


@pytest.mark.parametrize("zone", slow_but(1, ZONES))
def test_the_sums_are_those_of_the_results(quarter: int, zone: str) -> None:
    with timezone.override(zone):
        for name, key in KEYS.items():
            assert found(name) == {(value,): sums for value, sums in expected(key).items()}, name
        both = expected(lambda result: (KEYS["week"](result), result.model))
        assert found("week", "model") == both
        assert total_of(report().by("month")) == sums_of(UsageRollup.objects.all()) == total_of(report().by("model"))


def test_each_filter_selects_the_same_results(quarter: int) -> None:
    for name, key in KEYS.items():
        if name in GROUPS:
            for value in set(expected(key)):
                column = {"model": "model", "job": "batch__kind", "account": "batch__account"}.get(
                    name, "batch__created_by_name"
                )
                matching = {
                    pk for pk, shown in BatchResult.objects.values_list("pk", column) if shown == value
                }  # in Python: MariaDB would find "Ada" for "ada"
                selected = expected(KEYS["day"], pk__in=matching)
                assert found("day", only={name: value}) == {(day,): sums for day, sums in selected.items()}
    since, until = date(2026, 8, 15), date(2026, 9, 14)
    within = {(day,): sums for day, sums in expected(day_of).items() if since <= day <= until}
    assert found("day", since=since, until=until) == within
    assert found("day", since=until, until=since) == {}


def test_choices_are_the_values_that_occur(quarter: int) -> None:
    choices = report(only={"account": "second"}).choices()
    assert choices == {
        "model": sorted(MODELS),
        "job": ["", "Tags", "tags"],
        "account": ["default", "second"],
        "starter": ["", "Ada", "ada", "ida"],
    }
    assert report(since=date(2030, 1, 1)).choices() == {name: [] for name in GROUPS}


def rollup(ended_at: datetime, **columns: Any) -> UsageRollup:
    return UsageRollup.objects.create(ended_at=ended_at, **{"results": 1, **columns})


def days(zone: str) -> dict[date, int]:
    with timezone.override(zone):
        return {row.keys[0]: row.sums.requests for row in report().by("day")}


def test_a_day_without_a_midnight_begins_at_one() -> None:
    """In 2017 the clocks of São Paulo went from 23:59:59 on October 14 to 01:00 on October 15."""
    forward = datetime(2017, 10, 15, 3, tzinfo=UTC)
    for minutes in (-1, 0, 59):
        rollup(forward + timedelta(minutes=minutes))
    assert days("America/Sao_Paulo") == {date(2017, 10, 14): 1, date(2017, 10, 15): 2}


def test_a_day_with_two_midnights_begins_at_the_first() -> None:
    """In 2026 the clocks of Havana go back from 01:00 to 00:00 on November 1."""
    for hour in (3, 4, 5, 6):
        rollup(datetime(2026, 11, 1, hour, 30, tzinfo=UTC))
    assert days("America/Havana") == {date(2026, 10, 31): 1, date(2026, 11, 1): 3}


def test_a_day_that_a_zone_left_out() -> None:
    """In 2011 Apia went from December 29 to December 31."""
    rollup(datetime(2011, 12, 30, 9, 59, tzinfo=UTC))
    rollup(datetime(2011, 12, 30, 10, 0, tzinfo=UTC))
    assert days("Pacific/Apia") == {date(2011, 12, 29): 1, date(2011, 12, 31): 1}


@examples(max_examples=30)
@given(
    st.sampled_from(ZONES),
    st.lists(st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC)), max_size=5),
)
def test_each_moment_counts_on_its_day_week_and_month(zone: str, moments: list[datetime]) -> None:
    UsageRollup.objects.all().delete()
    UsageRollup.objects.bulk_create(UsageRollup(ended_at=at, results=1) for at in moments)
    local = [at.astimezone(ZoneInfo(zone)).date() for at in moments]
    with timezone.override(zone):
        for name in PERIODS:
            starts = [period_starts(name, day, day)[0] for day in local]
            assert {row.keys[0]: row.sums.requests for row in report().by(name)} == {
                start: starts.count(start) for start in starts
            }
            assert all(start <= day <= last_day(name, start) for start, day in zip(starts, local, strict=True))


def test_sums_of_this_month_and_of_the_last() -> None:
    this = timezone.localtime().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    rollup(this, results=5)
    rollup(this - timedelta(seconds=1), results=3)
    rollup(this - timedelta(days=40), results=100)
    both = report(since=date(2020, 1, 1), until=date(2020, 1, 2)).months()
    assert [sums.requests for sums in both] == [5, 3]
    assert report(only={"account": "none"}).months() == (UsageSums(), UsageSums())


def test_too_many_periods_are_refused() -> None:
    first = datetime(2020, 1, 1, 12, tzinfo=UTC)
    rollup(first)
    rollup(first + timedelta(days=MAX_PERIODS - 1))
    assert len(report().by("day")) == 2
    rollup(first + timedelta(days=MAX_PERIODS))
    with pytest.raises(LimitExceeded, match="More than 400 days"):
        report().by("day")
    assert total_of(report().by("week")).requests == 3
    rollup(datetime(1001, 1, 1, tzinfo=UTC))
    assert total_of(report(since=date(2020, 1, 1)).by("week")).requests == 3
    with pytest.raises(LimitExceeded):
        report().by("month")


def test_an_unknown_cost_is_never_zero() -> None:
    assert UsageSums(unpriced_results=1).known_cost_usd is None
    assert UsageSums(Decimal(1), unpriced_results=1).known_cost_usd == 1
    assert UsageSums().known_cost_usd == 0
    assert UsageSums(input_tokens=1, cache_write_1h_tokens=2, cache_read_tokens=1).cache_read_share == 0.25
    assert UsageSums(output_tokens=5).cache_read_share is None


@pytest.fixture
def many() -> int:
    """The usage of 10,000 deleted batches over a year, of two models each."""
    began = datetime(2026, 1, 1, tzinfo=UTC)
    UsageRollup.objects.bulk_create(
        UsageRollup(
            ended_at=began + timedelta(minutes=52 * number),
            account=f"account-{number % 2}",
            kind=f"job-{number % 40}",
            starter=f"user-{number % 9}",
            model=model,
            results=100,
            input_tokens=1000,
            cost_usd=Decimal("0.5"),
        )
        for number in range(10_000)
        for model in ("claude-haiku-4-5", "claude-opus-5")
    )
    return UsageRollup.objects.count()


def queries(work: Callable[[], object]) -> Iterator[str]:
    with CaptureQueriesContext(connection) as captured:
        work()
    yield from (entry["sql"] for entry in captured)


@pytest.mark.slow
def test_ten_thousand_batches_take_six_queries_and_no_result(many: int) -> None:
    def work() -> None:
        whole = report(since=date(2026, 1, 1), until=date(2026, 12, 31))
        assert total_of(whole.by("day", "job")).requests == many * 100
        whole.months()
        whole.choices()

    work()
    said = list(queries(work))
    assert len(said) <= 6
    assert not [sql for sql in said if BatchResult._meta.db_table in sql or MessageBatch._meta.db_table in sql]


def test_the_largest_counts_of_a_server_can_be_added_up() -> None:
    """SQLite raises where a sum of integers does not fit into 64 bits."""
    for at in range(3):
        batch = MessageBatch.objects.create(label=str(at))
        BatchResult.objects.create(batch=batch, custom_id="a", result_type="succeeded", model="m", input_tokens=2**62)
        UsageRollup.objects.replace(batch, UsageRollup.objects.sum_up(batch.pk))
    assert sums_of(UsageRollup.objects.all()).input_tokens == 3 * MAX_BATCH_TOKENS
    assert total_of(report().by("month")).input_tokens == 3 * MAX_BATCH_TOKENS
