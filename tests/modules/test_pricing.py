"""Costs worked out by hand, one for each rule of docs/reference/wire.md §8. Prices are USD per million tokens."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from django_claude_batches.pricing import bundled

TABLE = bundled()

BY_HAND: list[tuple[str, str, dict[str, int | str], str]] = [
    # (1,000,000 * 1 + 200,000 * 5) / 1,000,000 / 2
    ("half price", "claude-haiku-4-5", {"input_tokens": 1_000_000, "output_tokens": 200_000}, "1"),
    # 400,000 * 3.75 / 1,000,000 / 2
    ("cache write, 5 minutes", "claude-sonnet-4-6", {"cache_write_5m_tokens": 400_000}, "0.75"),
    # 400,000 * 6 / 1,000,000 / 2
    ("cache write, 1 hour", "claude-sonnet-4-6", {"cache_write_1h_tokens": 400_000}, "1.2"),
    # 1,000,000 * 0.30 / 2: a tenth of input
    ("cache read", "claude-sonnet-4-6", {"cache_read_tokens": 1_000_000}, "0.15"),
    # 1,000,000 * 0.20 / 2: a twentieth of input
    ("cache read, cheaper for this model", "claude-opus-5-5", {"cache_read_tokens": 1_000_000}, "0.1"),
    # 1,000,000 * 0.25 / 2: a fortieth of input
    ("cache read, cheapest for this model", "claude-fable-5-1", {"cache_read_tokens": 1_000_000}, "0.125"),
    # (100,000 * 5 + 10,000 * 25) / 1,000,000 / 2 * 1.1
    (
        "in the US",
        "claude-opus-4-6",
        {"input_tokens": 100_000, "output_tokens": 10_000, "inference_geo": "us"},
        "0.4125",
    ),
    # 3 * 0.01, not halved, and not dearer in the US
    ("web searches", "claude-opus-4-6", {"web_search_requests": 3, "inference_geo": "us"}, "0.03"),
    # (13,333 * 5 + 203 * 25) / 1,000,000 / 2 + 0.01: what the capture of docs/reference/wire.md §8 cost
    (
        "the capture",
        "claude-opus-5",
        {"input_tokens": 13_333, "output_tokens": 203, "web_search_requests": 1},
        "0.04587",
    ),
    # prompt 60,000 + 30,000 + 10,000 = 100,000: (60,000 * 0.10 + 30,000 * 0.01 + 10,000 * 0.125 + 1,000 * 0.50) / 1e6
    # / 2
    (
        "a prompt up to the threshold",
        "claude-haiku-5-5",
        {
            "input_tokens": 60_000,
            "cache_read_tokens": 30_000,
            "cache_write_5m_tokens": 10_000,
            "output_tokens": 1_000,
        },
        "0.004025",
    ),
    # prompt 100,001: all of it, the output too, at the higher rates: (60,001 * 0.50 + 30,000 * 0.05 + 10,000 * 0.625
    # + 1,000 * 2.50) / 1e6 / 2
    (
        "a prompt above the threshold",
        "claude-haiku-5-5",
        {
            "input_tokens": 60_001,
            "cache_read_tokens": 30_000,
            "cache_write_5m_tokens": 10_000,
            "output_tokens": 1_000,
        },
        "0.02012525",
    ),
    # 1 * 0.01 / 1e6 / 2 = 0.000000005
    ("the cheapest token", "claude-haiku-5-5", {"cache_read_tokens": 1}, "0.000000005"),
    # 1 * 0.01 / 1e6 / 2 * 1.1 = 0.0000000055, to a billionth
    ("half of a billionth", "claude-haiku-5-5", {"cache_read_tokens": 1, "inference_geo": "us"}, "0.000000006"),
    ("nothing", "claude-opus-5", {}, "0"),
]


@pytest.mark.parametrize(("model", "usage", "usd"), [row[1:] for row in BY_HAND], ids=[row[0] for row in BY_HAND])
def test_costs_are_those_worked_out_by_hand(model: str, usage: dict[str, Any], usd: str) -> None:
    cost = TABLE.cost(model, **usage)
    assert cost == Decimal(usd)
    assert isinstance(cost, Decimal)


@pytest.mark.parametrize("model", ["claude-haiku-4-5-20251001", "claude-sonnet-4-5-20250929", "claude-opus-5-20270101"])
def test_a_name_with_a_date_has_the_price_of_the_name_without(model: str) -> None:
    assert TABLE.cost(model, input_tokens=10) == TABLE.cost(model[:-9], input_tokens=10) != 0


@pytest.mark.parametrize(
    "model", ["", "claude", "claude-opus", "claude-opus-5-6", "claude-opus-5-5x", "claude-opus-5-2027", "Claude-Opus-5"]
)
def test_what_is_not_known_costs_an_unknown_sum_and_not_nothing(model: str) -> None:
    assert TABLE.cost(model, input_tokens=10) is None


def test_a_point_release_is_not_taken_for_its_elder() -> None:
    assert TABLE.cost("claude-opus-5", input_tokens=10**6) == Decimal("2.5")
    assert TABLE.cost("claude-opus-5-5", input_tokens=10**6) == Decimal(2)


@pytest.mark.parametrize(
    ("model", "today", "said"),
    [
        ("claude-opus-4-5", "2026-12-22", ""),
        ("claude-opus-4-5", "2026-12-23", "claude-opus-4-5 retires on 2027-01-22: requests to it fail from then on"),
        (
            "claude-opus-4-5-20251101",
            "2027-01-22",
            "claude-opus-4-5-20251101 retired on 2027-01-22: requests to it fail",
        ),
        ("claude-sonnet-4-5", "2028-01-01", "claude-sonnet-4-5 retired on 2026-11-30: requests to it fail"),
        ("claude-opus-5", "2028-01-01", ""),
        ("", "2028-01-01", ""),
    ],
)
def test_a_model_is_said_to_retire_from_thirty_days_before(model: str, today: str, said: str) -> None:
    assert TABLE.retirement(model, date.fromisoformat(today)) == said
    assert (
        TABLE.replaced({"claude-opus-4-5": {"input": 1, "output": 1}}).retirement(model, date.fromisoformat(today))
        == said
    )


def test_a_long_prompt_of_sonnet_4_5_has_the_higher_rates() -> None:
    # 200,001 * 6 / 1e6 / 2, and 200,000 * 3 / 1e6 / 2
    assert TABLE.cost("claude-sonnet-4-5", input_tokens=200_001) == Decimal("0.600003")
    assert TABLE.cost("claude-sonnet-4-5", input_tokens=200_000) == Decimal("0.3")


def test_mythos_preview_has_its_price() -> None:
    # 1,000,000 * 10 / 1e6 / 2
    assert TABLE.cost("claude-mythos-preview", input_tokens=10**6) == Decimal(5)


def test_prices_of_yours_replace_and_add() -> None:
    table = TABLE.replaced({"claude-opus-5": {"input": 1, "output": 2}, "mine": {"input": "0.5", "output": 1.5}})
    assert table.cost("claude-opus-5", input_tokens=10**6) == Decimal("0.5")
    assert table.cost("mine", output_tokens=10**6) == Decimal("0.75")
    # Without prices of their own: 1.25, 2 and 0.1 times that of input.
    assert table.cost("mine", cache_write_5m_tokens=10**6) == Decimal("0.3125")
    assert table.cost("mine", cache_write_1h_tokens=10**6) == Decimal("0.5")
    assert table.cost("mine", cache_read_tokens=10**6) == Decimal("0.025")
    assert table.cost("claude-haiku-4-5", input_tokens=10**6) == Decimal("0.5")
    assert TABLE.cost("claude-opus-5", input_tokens=10**6) == Decimal("2.5")
    assert TABLE.cost("mine", input_tokens=1) is None


def test_more_than_the_column_holds_is_not_known() -> None:
    assert TABLE.cost("claude-opus-5", output_tokens=10**14) is None


def test_the_table_has_its_day_and_every_rate() -> None:
    assert TABLE.as_of == date(2026, 11, 22)
    price = TABLE.price("claude-haiku-5-5")
    assert price is not None
    assert (price.threshold, price.above is not None) == (100_000, True)
