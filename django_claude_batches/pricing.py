"""Compute the cost of a result from a dated price table and the rules of docs/reference/wire.md §8.

All token prices are halved in a batch. The multipliers for caching are separate prices, since they differ by model;
that for inference in the US applies to all tokens, web searches cost the same everywhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import cache
from importlib import resources
from typing import Any

MILLION = 1_000_000
RATES = ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")
# Multiples of the input price, if a price of the settings has none (docs/reference/wire.md §8).
USUAL_RATES = {"cache_write_5m": Decimal("1.25"), "cache_write_1h": Decimal(2), "cache_read": Decimal("0.1")}

# Decimals of USD in the columns; a token of the cheapest kind costs five times the last of them.
DIGITS = 9

UNIT = 10**9
# Costs are added up as whole numbers of 10**-18 USD: exact for prices of up to 10 decimals.
HALF = UNIT // 2

# A billion USD; the columns hold no more.
MAX_COST_UNITS = 10**9 * UNIT * 10**DIGITS

# A threshold, and the rates per token below and above it, in 10**-18 USD.
InBatch = tuple[int | None, tuple[int, ...], tuple[int, ...]]

# How long before a model's retirement its warning begins.
RETIREMENT_NOTICE = timedelta(days=30)

DATED = re.compile(r"(.+)-\d{8}")


@dataclass(frozen=True, slots=True)
class Rates:
    """USD per million tokens, at the standard price."""

    input: Decimal
    output: Decimal
    cache_write_5m: Decimal
    cache_write_1h: Decimal
    cache_read: Decimal

    def per_token(self, multiplier: Decimal) -> tuple[int, ...]:
        """Return 10**-18 USD per token, in the order of the fields."""
        return tuple(_whole(getattr(self, name) * multiplier / MILLION) for name in RATES)


@dataclass(frozen=True, slots=True)
class ModelPrice:
    """A model's rates; above `threshold` tokens of prompt, the rates `above` apply to the whole request."""

    rates: Rates
    threshold: int | None = None
    above: Rates | None = None


class PriceTable:
    """Prices by model, as they were on a day. Exact names only: `claude-opus-5` is not `claude-opus-5-5`."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.as_of = date.fromisoformat(data["as_of"])
        self._batch, self._us = Decimal(data["batch_multiplier"]), Decimal(data["us_geo_multiplier"])
        self._web_search = _whole(Decimal(data["web_search_per_request"]))
        self._models = {name: model_price(given, name) for name, given in data["models"].items()}
        self._retires = {name: date.fromisoformat(day) for name, day in data["retires"].items()}
        self._in_batch: dict[tuple[str, bool], InBatch | None] = {}

    def replaced(self, prices: Mapping[str, Any]) -> PriceTable:
        """Return a table in which these models have these prices. Raise ValueError, naming what is wrong."""
        table = object.__new__(PriceTable)
        table.__dict__.update(self.__dict__)
        table._models = {**self._models, **{name: model_price(given, name) for name, given in prices.items()}}
        table._in_batch = {}
        return table

    @property
    def models(self) -> list[str]:
        """Return the names that have a price."""
        return list(self._models)

    def retirement(self, model: str, today: date | None = None) -> str:
        """Return when the model retires or retired, if that is within RETIREMENT_NOTICE; else empty. `today` is in UTC.

        Requests to a retired model fail. The days are Anthropic's (docs/reference/wire.md §8).
        """
        dated = DATED.fullmatch(model)
        day = self._retires.get(model) or self._retires.get(dated[1] if dated else "")
        today = today or datetime.now(tz=UTC).date()
        if day is None or day - today > RETIREMENT_NOTICE:
            return ""
        if day > today:
            return f"{model} retires on {day}: requests to it fail from then on"
        return f"{model} retired on {day}: requests to it fail"

    def price(self, model: str) -> ModelPrice | None:
        """Return the model's standard price, also for its name with a date; None if unknown."""
        found = self._models.get(model)
        if found is None and (dated := DATED.fullmatch(model)):
            found = self._models.get(dated[1])
        return found

    def cost(
        self,
        model: str,
        *,
        input_tokens: int = 0,
        output_tokens: int = 0,
        cache_write_5m_tokens: int = 0,
        cache_write_1h_tokens: int = 0,
        cache_read_tokens: int = 0,
        web_search_requests: int = 0,
        inference_geo: str = "",
        prompt_tokens: int | None = None,
    ) -> Decimal | None:
        """Return the cost of one answer in a batch in USD, to a billionth; None if the model's price is unknown.

        The counts are the API's: `input_tokens` are those that were neither read from a cache nor written to one. The
        counts may be sums of several answers with the same rates: `prompt_tokens` is then the size of any one's prompt.
        """
        key = model, inference_geo == "us"
        found = self._in_batch[key] if key in self._in_batch else self._price_in_batch(*key)
        if found is None:
            return None
        threshold, rates, above = found
        if threshold is not None:
            own = input_tokens + cache_write_5m_tokens + cache_write_1h_tokens + cache_read_tokens
            rates = above if (own if prompt_tokens is None else prompt_tokens) > threshold else rates
        total = (
            rates[0] * input_tokens
            + rates[1] * output_tokens
            + rates[2] * cache_write_5m_tokens
            + rates[3] * cache_write_1h_tokens
            + rates[4] * cache_read_tokens
            + self._web_search * web_search_requests
        )
        return Decimal((total + HALF) // UNIT).scaleb(-DIGITS) if total < MAX_COST_UNITS else None

    def _price_in_batch(self, model: str, in_us: bool) -> InBatch | None:  # noqa: FBT001 (its caller's key)
        price = self.price(model)
        if price is None:
            self._in_batch[model, in_us] = None
            return None
        multiplier = self._batch * (self._us if in_us else 1)
        above = (price.above or price.rates).per_token(multiplier)
        found = self._in_batch[model, in_us] = price.threshold, price.rates.per_token(multiplier), above
        return found


def model_price(given: Any, name: str) -> ModelPrice:
    """Read one model's price. Raise ValueError, naming what is wrong."""
    if not isinstance(given, Mapping):
        raise ValueError(f'"{name}" must be a dictionary of USD per million tokens')
    above = given.get("above")
    rates = _rates({key: value for key, value in given.items() if key != "above"}, name)
    if above is None:
        return ModelPrice(rates)
    where = f'{name}"]["above'
    if not isinstance(above, Mapping) or not isinstance(above.get("prompt_tokens"), int):
        raise ValueError(f'"{where}" must be a dictionary of prices with "prompt_tokens", a whole number')
    rest = {key: value for key, value in above.items() if key != "prompt_tokens"}
    return ModelPrice(rates, above["prompt_tokens"], _rates(rest, where))


def _rates(given: Mapping[str, Any], where: str) -> Rates:
    if unknown := sorted(map(str, given.keys() - set(RATES))):
        raise ValueError(f'"{where}" has no price "{unknown[0]}"; it knows: {", ".join(RATES)}, above')
    if missing := [key for key in ("input", "output") if key not in given]:
        raise ValueError(f'"{where}" lacks the price "{missing[0]}"')
    prices = {key: _usd(value, f'{where}"]["{key}') for key, value in given.items()}
    usual = {key: prices["input"] * share for key, share in USUAL_RATES.items()}
    return Rates(**{**usual, **prices})


def _usd(value: Any, where: str) -> Decimal:
    try:
        price = Decimal(str(value))
    except InvalidOperation:
        price = Decimal(-1)
    if isinstance(value, bool) or not price.is_finite() or price < 0:
        raise ValueError(f'"{where}" must be a number of USD per million tokens, not {value!r:.40}')
    return price


def _whole(usd: Decimal) -> int:
    return int((usd * UNIT * 10**DIGITS).to_integral_value())


@cache
def bundled() -> PriceTable:
    """Return the bundled price table."""
    text = resources.files("django_claude_batches").joinpath("prices.json").read_text(encoding="utf-8")
    return PriceTable(json.loads(text))
