"""Estimates worked out by hand: input is a token for 5 bytes to 2, output 1 to `max_tokens`; at least,
100 bytes of each request are none. Prices are USD per million tokens."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import pytest

from django_claude_batches.estimates import MAX_KINDS, Estimate, ExpectedUsage
from django_claude_batches.pricing import PriceTable, bundled

TABLE = bundled()
DAY = date(2026, 11, 22)


@dataclass
class Request:
    model: str
    params_bytes: int
    max_tokens: int
    inference_geo: str = ""


def usage(*requests: Request) -> ExpectedUsage:
    expected = ExpectedUsage()
    for request in requests:
        expected.add(request)
    return expected


def estimate(*requests: Request, prices: PriceTable = TABLE) -> Estimate:
    return usage(*requests).estimate(prices)


BY_HAND: list[tuple[str, list[Request], str, str]] = [
    # low (900 / 5 * 1 + 1 * 5) / 1e6 / 2; high (1,000 / 2 * 1 + 100 * 5) / 1e6 / 2
    ("one request", [Request("claude-haiku-4-5", 1_000, 100)], "0.0000925", "0.0005"),
    # low (1,800 / 5 * 1 + 2 * 5) / 1e6 / 2; high (2,000 / 2 * 1 + 300 * 5) / 1e6 / 2
    (
        "requests of one kind",
        [Request("claude-haiku-4-5", 1_000, 100), Request("claude-haiku-4-5", 1_000, 200)],
        "0.000185",
        "0.00125",
    ),
    # the first one's, and low (0 / 5 * 5 + 1 * 25) / 1e6 / 2; high (100 / 2 * 5 + 10 * 25) / 1e6 / 2
    (
        "two models",
        [Request("claude-haiku-4-5", 1_000, 100), Request("claude-opus-5", 100, 10)],
        "0.000105",
        "0.00075",
    ),
    # 1.1 times low (900 / 5 * 5 + 1 * 25) / 1e6 / 2; high (1,000 / 2 * 5 + 100 * 25) / 1e6 / 2
    ("in the US", [Request("claude-opus-4-6", 1_000, 100, "us")], "0.00050875", "0.00275"),
    # 131,071 bytes have 17 digits: 65,536 tokens at most, below the threshold of 100,000
    # low (26,194 * 0.10 + 1 * 0.50) / 1e6 / 2; high (65,536 * 0.10 + 1,000 * 0.50) / 1e6 / 2
    ("surely below the threshold", [Request("claude-haiku-5-5", 131_071, 1_000)], "0.00130995", "0.0035268"),
    # 300,000 bytes: 59,980 tokens, below, or 150,000, above: low (59,980 * 0.10 + 1 * 0.50) / 1e6 / 2
    # high (150,000 * 0.50 + 1,000 * 2.50) / 1e6 / 2
    ("perhaps above the threshold", [Request("claude-haiku-5-5", 300_000, 1_000)], "0.00299925", "0.03875"),
    # 1,048,576 bytes: 209,695 tokens at least: low (209,695 * 0.50 + 1 * 2.50) / 1e6 / 2
    # high (524,288 * 0.50 + 1,000 * 2.50) / 1e6 / 2
    ("surely above the threshold", [Request("claude-haiku-5-5", 1_048_576, 1_000)], "0.052425", "0.132322"),
    # the first as it is alone, though another one's prompt is above the threshold
    (
        "one below, one above the threshold",
        [Request("claude-haiku-5-5", 131_071, 1_000), Request("claude-haiku-5-5", 1_048_576, 1_000)],
        "0.05373495",
        "0.1358488",
    ),
    ("refused for its max_tokens", [Request("claude-opus-5", 1_000, 0)], "0", "0"),
    ("refused whatever its model is", [Request("nobody-knows", 1_000, 0)], "0", "0"),
]


@pytest.mark.parametrize(
    ("requests", "low", "high"), [row[1:] for row in BY_HAND], ids=[str(row[0]) for row in BY_HAND]
)
def test_estimates_are_those_worked_out_by_hand(requests: list[Request], low: str, high: str) -> None:
    assert estimate(*requests) == Estimate(Decimal(low), Decimal(high), DAY)


def test_a_request_is_neither_cheaper_nor_dearer_than_its_estimate_within_the_rule() -> None:
    found = estimate(Request("claude-sonnet-4-6", 999, 10))
    for tokens, output in [(180, 1), (250, 5), (333, 10), (500, 10)]:
        cost = TABLE.cost("claude-sonnet-4-6", input_tokens=tokens, output_tokens=output)
        assert cost is not None
        assert found.low is not None
        assert found.high is not None
        assert found.low <= cost <= found.high


def test_one_model_without_a_price_makes_the_estimate_unknown() -> None:
    found = estimate(Request("mine", 10, 10), Request("claude-opus-5", 10, 10), Request("claude-opus-5x", 10, 10))
    assert found == Estimate(None, None, DAY, ("claude-opus-5x", "mine"))
    assert found.cents is None


def test_prices_of_yours_are_used() -> None:
    # low (900 / 5 * 10 + 1 * 20) / 1e6 / 2; high (1,000 / 2 * 10 + 100 * 20) / 1e6 / 2
    prices = TABLE.replaced({"mine": {"input": 10, "output": 20}})
    assert estimate(Request("mine", 1_000, 100), prices=prices) == Estimate(Decimal("0.00091"), Decimal("0.0035"), DAY)


def test_it_is_made_again_from_what_was_stored() -> None:
    expected = usage(Request("claude-opus-5", 100, 10), Request("claude-opus-5", 5_000, 10, "us"))
    again = ExpectedUsage(expected.stored())
    assert again.stored() == expected.stored()
    again.add(Request("claude-opus-5", 100, 10))
    assert [kind.requests for kind in again.kinds] == [2, 1]


def test_a_request_can_be_taken_out_again() -> None:
    expected = usage(Request("nobody-knows", 100, 10), Request("claude-opus-5", 100, 10))
    expected.add(Request("nobody-knows", 100, 10), times=-1)
    assert expected.estimate(TABLE) == estimate(Request("claude-opus-5", 100, 10))
    assert len(expected.stored()) == 1


def test_it_stays_small_and_unknown_however_many_models_there_are() -> None:
    expected = usage(*(Request(f"model-{number}", 100, 10) for number in range(10 * MAX_KINDS)))
    assert len(expected.stored()) == MAX_KINDS + 1
    assert sum(kind.requests for kind in expected.kinds) == 10 * MAX_KINDS
    prices = TABLE.replaced({f"model-{number}": {"input": 1, "output": 1} for number in range(MAX_KINDS)})
    assert expected.estimate(prices).unknown_models == ("",)


@pytest.mark.parametrize(
    ("low", "high", "cents"),
    [
        ("1.239", "4.801", ("1.23", "4.81")),
        ("0.004", "0.004", ("0.00", "0.01")),
        ("2", "2", ("2.00", "2.00")),
        ("0", "0", ("0.00", "0.00")),
    ],
)
def test_cents_are_rounded_outwards(low: str, high: str, cents: tuple[str, str]) -> None:
    assert Estimate(Decimal(low), Decimal(high), DAY).cents == (Decimal(cents[0]), Decimal(cents[1]))
