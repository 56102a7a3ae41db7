from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.models import UsageRollup
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import running
from tests.management.conftest import Manage

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def spent(day: int, **columns: Any) -> None:
    given = {"results": 10, "input_tokens": 1000, "output_tokens": 20, "cost_usd": Decimal("0.5"), "model": "m"}
    UsageRollup.objects.create(ended_at=datetime(2020, 11, day, 12, tzinfo=UTC), **{**given, **columns})


@pytest.fixture
def november() -> None:
    spent(1, kind="tags", starter="ada")
    spent(2, kind="tags", account="second", cache_read_tokens=3000, cache_write_5m_tokens=5)
    spent(30, kind="", unpriced_results=3, cost_usd=0, web_search_requests=1)


def test_without_any_usage(manage: Manage) -> None:
    ran = manage("usage")
    nothing = "$0.00, 0 requests, 0 tokens in, 0 out"
    said = f"Nothing was spent in this time.\nThis month: {nothing}\nLast month: {nothing}\n"
    assert (ran.code, ran.out) == (0, said)
    document = manage("usage", "--json").document
    assert (document["rows"], document["by"], document["time_zone"]) == ([], ["month"], "Europe/Berlin")


def test_it_is_the_months_by_default(manage: Manage, november: None) -> None:
    sums = "at least $1.00, 30 requests, 3,000 tokens in, 60 out, 5 written to the cache, 3,000 read from it "
    sums += "(50% of the prompt), 1 web search; 3 results of unknown cost"
    assert manage("usage").out.splitlines()[:2] == [f"2020-11-01: {sums}", f"Total: {sums}"]


def test_by_job_in_a_period_as_json(manage: Manage, november: None) -> None:
    document = manage("usage", "--by", "job", "--since", "2020-11-02", "--until", "2020-11-30", "--json").document
    assert (document["since"], document["until"], document["by"]) == ("2020-11-02", "2020-11-30", ["job"])
    tags, neither = document["rows"]
    assert tags == {
        "job": "tags",
        "cost_usd": "0.500000000",
        "requests": 10,
        "unpriced_results": 0,
        "input_tokens": 1000,
        "output_tokens": 20,
        "cache_write_5m_tokens": 5,
        "cache_write_1h_tokens": 0,
        "cache_read_tokens": 3000,
        "cache_read_share": 0.7491,
        "web_search_requests": 0,
    }
    assert (neither["job"], neither["cost_usd"], neither["unpriced_results"]) == ("", None, 3)
    assert (document["total"]["cost_usd"], document["total"]["requests"]) == ("0.500000000", 20)


def test_by_two_names_and_filtered(manage: Manage, november: None) -> None:
    def rows(*arguments: str) -> list[tuple[Any, ...]]:
        document = manage("usage", *arguments, "--json").document
        return [tuple(row[name] for name in document["by"]) for row in document["rows"]]

    assert rows("--by", "week", "--by", "account") == [
        ("2020-10-26", "default"),
        ("2020-11-02", "second"),
        ("2020-11-30", "default"),
    ]
    assert rows("--by", "day", "--job", "tags") == [("2020-11-01",), ("2020-11-02",)]
    assert rows("--by", "day", "--job", "") == [("2020-11-30",)]
    assert rows("--by", "starter", "--starter", "ada", "--account", "default", "--model", "m") == [("ada",)]
    assert rows("--by", "day", "--model", "M") == []


def test_what_was_spent_just_now(manage: Manage, claude: ClaudeEmulator) -> None:
    batch = running(3, kind="tags")
    claude.finish()
    services.advance(batch)
    today = timezone.localdate()
    document = manage("usage", "--by", "day", "--since", today - timedelta(days=1), "--json").document
    assert document["this_month"]["cost_usd"] == document["total"]["cost_usd"] == f"{batch.cost_usd:f}"
    assert document["this_month"]["requests"] == 3


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--by", "person"], "invalid choice"),
        (["--since", "yesterday"], "'yesterday' is not a day, such as 2026-11-01"),
        (["--since", "0001-01-01"], "0001-01-01 is not from 1001-01-01 to 9998-12-31"),
        (["--since", "2026-11-02", "--until", "2026-11-01"], "--since is after --until"),
    ],
)
def test_wrong_usage(manage: Manage, arguments: list[str], why: str) -> None:
    ran = manage("usage", *arguments)
    assert why in ran.err
    assert ran.out == ""


def test_too_many_days_are_refused_with_a_way_out(manage: Manage, november: None) -> None:
    UsageRollup.objects.create(ended_at=datetime(2024, 1, 1, tzinfo=UTC), results=1)
    ran = manage("usage", "--by", "day")
    assert (ran.code, ran.out) == (1, "")
    assert "More than 400 days: choose a shorter time or longer periods." in ran.err


def test_names_from_outside_are_printed_as_text(manage: Manage) -> None:
    spent(1, model="\x1b[31mred\nTotal: 0 USD", starter="\u202eada")
    for by in ("model", "starter"):
        ran = manage("usage", "--by", by)
        assert not {"\x1b", "\u202e"} & set(ran.out)
        assert len(ran.out.splitlines()) == 4
    assert manage("usage", "--by", "model", "--model", "\ud800").out.startswith("Nothing was spent")
    assert json.loads(manage("usage", "--by", "starter", "--json").out)["rows"][0]["starter"] == "\u202eada"
