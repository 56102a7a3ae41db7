"""Compare our table of prices with that of the package genai-prices: `python -m tests.modules.prices`. No network.

Each difference is a line: a rate, a threshold, or a model that only one of the two knows. The exit status is 1 if there
is a difference of prices that is not in `KNOWN`. A model that one of them lacks is only named.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django_claude_batches.pricing import RATES, ModelPrice, PriceTable, bundled

COLUMNS = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cache_write_5m": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
    "cache_read": "cache_read_mtok",
}
"""Their name of each rate; both tables are in USD per million tokens at the standard price."""

KNOWN: frozenset[str] = frozenset()
"""Lines of which we know better, each with its source in docs/reference/wire.md §8."""


def anthropics() -> dict[str, Any]:
    """Return their models of the provider Anthropic, by name, with the prices of today."""
    from genai_prices.data import providers

    [provider] = [provider for provider in providers if provider.id == "anthropic"]
    now = datetime.now(tz=UTC)
    return {model.id: model.get_prices(now) for model in provider.models}


def differences(ours: PriceTable, theirs: dict[str, Any]) -> Iterator[str]:
    """Name each rate and threshold that is another there; a rate that they do not state is not compared."""
    for name in sorted(set(ours.models) & set(theirs)):
        price = ours.price(name)
        assert price is not None
        for rate in RATES:
            given = getattr(theirs[name], COLUMNS[rate], None)
            if given is not None and (ours_told := told(price, rate)) != (theirs_told := _told(given)):
                yield f"{name}: {rate} is {ours_told} here, {theirs_told} there"


def told(price: ModelPrice, rate: str) -> str:
    base = f"{getattr(price.rates, rate).normalize():f}"
    if price.threshold is None or price.above is None:
        return base
    return f"{base}, {getattr(price.above, rate).normalize():f} above {price.threshold:,} tokens"


def _told(given: Any) -> str:
    if isinstance(given, Decimal):
        return f"{given.normalize():f}"
    tiers = [f"{tier.price.normalize():f} above {tier.start:,} tokens" for tier in given.tiers]
    return ", ".join([f"{given.base.normalize():f}", *tiers])


def main() -> int:
    ours, theirs = bundled(), anthropics()
    found = list(differences(ours, theirs))
    for line in found:
        print(f"{line}{' (known)' if line in KNOWN else ''}")
    for name in sorted(set(ours.models) - set(theirs)):
        print(f"{name}: only here")
    for name in sorted(set(theirs) - set(ours.models)):
        print(f"{name}: only there")
    new = [line for line in found if line not in KNOWN]
    print(f"{len(set(ours.models) & set(theirs))} models compared, {len(new)} new differences.")
    return bool(new)


if __name__ == "__main__":
    sys.exit(main())
