from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from django_claude_batches.admin.base import display
from django_claude_batches.estimates import Estimate

DAY = date(2026, 11, 22)
BY_PRICES = "by the prices of Nov. 22, 2026"


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [
        ("1.2049", "4.7951", f"about $1.20 to $4.80 {BY_PRICES}"),
        ("1234.5", "98765.4321", f"about $1,234.50 to $98,765.44 {BY_PRICES}"),
        ("2", "2", f"about $2.00 {BY_PRICES}"),
        ("0.009", "0.021", f"at most about $0.03 {BY_PRICES}"),
        ("0.0001", "0.0099", f"at most $0.01 {BY_PRICES}"),
        ("0.000000001", "0.000000002", f"at most $0.01 {BY_PRICES}"),
        ("0", "0", f"at most $0.01 {BY_PRICES}"),
    ],
)
def test_an_estimate_is_a_range_with_the_day_of_its_prices(low: str, high: str, shown: str) -> None:
    assert display.estimate(Estimate(Decimal(low), Decimal(high), DAY)) == shown


def test_an_estimate_that_is_not_known_says_why() -> None:
    models = ("a", "b", "c", "d")
    assert display.estimate(Estimate(None, None, DAY, models[:1])) == (
        'not known: no price for model "a" on Nov. 22, 2026'
    )
    shown = display.estimate(Estimate(None, None, DAY, models))
    assert shown == 'not known: no price for models "a", "b", "c", … on Nov. 22, 2026'
    assert display.estimate(Estimate(None, None, DAY)) == "not known"
