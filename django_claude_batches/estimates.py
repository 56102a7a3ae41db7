"""What requests will cost, before they are sent: a range, and an estimate.

- Input is at least a token for 5 bytes and at most a token for 2, of the params as JSON in UTF-8, in which a letter of
  English is a byte and a character of Chinese three. Of each request's bytes, 100 may be no tokens at all: the names
  and braces around its text. A token is about 3.5 characters of English, Anthropic's glossary says, and its page on
  counting tokens that models since Opus 4.7 make 30 percent more of a text: that leaves 2.7. Measured were 4.3 for
  prose before and 2.5 for Markdown since (docs/reference/wire.md §8).
- Output is at least a token for each request, and at most its `max_tokens`.
- What the API will refuse for its `max_tokens` costs nothing.

All bytes count as if they were text. So an image or a PDF that is in the params as base64 is estimated far too
dear, and one that is named by its URL or id too cheap. What a cache saves or costs, and web searches with what they
find, are not known before and not in it.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, Protocol

from django_claude_batches.model_limits import is_lifted
from django_claude_batches.pricing import PriceTable

# For one token.
MAX_BYTES_PER_TOKEN, MIN_BYTES_PER_TOKEN = 5, 2

# Bytes of a request that need not be tokens.
NON_TOKEN_BYTES = 100

# Kinds of requests that are distinguished in a batch; further ones count as an unknown model, of unknown cost.
MAX_KINDS = 200

CENT = Decimal("0.01")

KindKey = tuple[str, str, int]
OTHER_KIND: KindKey = ("", "", 1)


def dollars(amount: Decimal) -> str:
    """Return an amount in USD as people read it, in dollars and cents; columns and exports have the exact one."""
    return "< $0.01" if 0 < amount < CENT else f"${amount:,.2f}"


@dataclass(slots=True)
class ExpectedRefusal:
    """Something that a model refuses in some requests: a `warning`, and the place of the first of them."""

    warning: str
    requests: int = 0
    first: str = ""

    def __str__(self) -> str:
        requests = f"{self.requests:,} request{'' if self.requests == 1 else 's'}"
        return f"{self.warning} ({requests}{f', the first is {self.first}' if self.first else ''})"

    @staticmethod
    def added_up(found: Iterable[tuple[object, Iterable[ExpectedRefusal]]]) -> tuple[ExpectedRefusal, ...]:
        """Add up the refusals of several batches, each with the batch's name."""
        sums: dict[str, ExpectedRefusal] = {}
        for batch, refusals in found:
            for one in refusals:
                first = f"{one.first} of batch {batch}".strip()
                sums.setdefault(one.warning, replace(one, requests=0, first=first)).requests += one.requests
        return tuple(sums.values())


class Priced(Protocol):
    """The parts of a request that determine its cost; `max_tokens` is 0 if the API will refuse it for that."""

    @property
    def model(self) -> str: ...
    @property
    def inference_geo(self) -> str: ...
    @property
    def params_bytes(self) -> int: ...
    @property
    def max_tokens(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Estimate:
    """The cost in USD by the prices of a day; `low` and `high` are None if unknown.

    `unknown_models` are the models that have no price. `retirements` names the models that retire soon or have retired,
    with the date; `refusals` lists what models refuse in these requests.
    """

    low: Decimal | None
    high: Decimal | None
    as_of: date
    unknown_models: tuple[str, ...] = ()
    retirements: tuple[str, ...] = ()
    refusals: tuple[ExpectedRefusal, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return warnings to show before the requests are sent."""
        return (*self.retirements, *map(str, self.refusals))

    @property
    def cents(self) -> tuple[Decimal, Decimal] | None:
        """Return the range with two decimals, rounded outwards; None if unknown."""
        if self.low is None or self.high is None:
            return None
        return self.low.quantize(CENT, ROUND_FLOOR), self.high.quantize(CENT, ROUND_CEILING)

    def times(self, share: Decimal) -> Estimate:
        """Return the estimate multiplied by `share`, for more or fewer similar requests."""
        if self.low is None or self.high is None:
            return self
        return replace(self, low=self.low * share, high=self.high * share)


@dataclass(slots=True)
class ExpectedKind:
    """Requests of one kind: the same model and place, and about the same size.

    `digits` is the number of binary digits of each one's bytes; `bytes` and `max_tokens` are sums.
    """

    model: str
    inference_geo: str
    digits: int
    requests: int = 0
    bytes: int = 0
    max_tokens: int = 0

    def costs(self, prices: PriceTable) -> tuple[Decimal | None, Decimal | None]:
        """Return the lowest and the highest cost in USD; None if unknown.

        A price that depends on the size of the prompt is that of the smallest and of the largest possible one.
        """
        low = prices.cost(
            self.model,
            inference_geo=self.inference_geo,
            input_tokens=max(self.bytes - NON_TOKEN_BYTES * self.requests, 0) // MAX_BYTES_PER_TOKEN,
            output_tokens=self.requests,
            prompt_tokens=max(2 ** (self.digits - 1) - NON_TOKEN_BYTES, 0) // MAX_BYTES_PER_TOKEN,
        )
        high = prices.cost(
            self.model,
            inference_geo=self.inference_geo,
            input_tokens=-(-self.bytes // MIN_BYTES_PER_TOKEN),
            output_tokens=self.max_tokens,
            prompt_tokens=2**self.digits // MIN_BYTES_PER_TOKEN,
        )
        return low, high


class ExpectedUsage:
    """Count requests by kind, and what models refuse in them, one request at a time.

    Its memory does not grow with the number of requests.
    """

    def __init__(self, stored: Iterable[Mapping[str, Any]] = ()) -> None:
        self._kinds: dict[KindKey, ExpectedKind] = {}
        self._refusals: dict[str, ExpectedRefusal] = {}
        for row in stored:
            if "warning" in row:
                self._refusals[row["warning"]] = ExpectedRefusal(**row)
                continue
            kind = ExpectedKind(**row)
            self._kinds[kind.model, kind.inference_geo, kind.digits] = kind

    def add(self, request: Priced, *, times: int = 1) -> None:
        """Count a request; with `times` -1, remove it again. A request without `max_tokens` is not counted."""
        if request.max_tokens:
            size = request.params_bytes
            key = request.model, request.inference_geo, size.bit_length()
            kind = self._kinds.get(key) or self._new(key)
            kind.requests += times
            kind.bytes += times * size
            kind.max_tokens += times * request.max_tokens

    def warn(self, warnings: Iterable[str], place: str, *, times: int = 1) -> None:
        """Count what a model refuses in the request at `place`; `times` -1 removes it again.

        There are few different texts (`model_limits.warnings_of`), so no bound is needed here.
        """
        for warning in warnings:
            found = self._refusals.setdefault(warning, ExpectedRefusal(warning))
            if times < 0 and found.first == place:
                found.first = ""  # the next one is unknown
            elif not found.requests:
                found.first = place
            found.requests += times

    def _new(self, key: KindKey) -> ExpectedKind:
        key = key if len(self._kinds) < MAX_KINDS else OTHER_KIND
        return self._kinds.setdefault(key, ExpectedKind(*key))

    @property
    def kinds(self) -> list[ExpectedKind]:
        return [kind for kind in self._kinds.values() if kind.requests > 0]

    def refusals(self, betas: Container[str] = ()) -> list[ExpectedRefusal]:
        """Return what models refuse in these requests with these betas."""
        found = (one for one in self._refusals.values() if one.requests > 0)
        return [one for one in found if not is_lifted(one.warning, betas)]

    def stored(self) -> list[dict[str, Any]]:
        """Return it as JSON, from which it can be restored."""
        return [*map(asdict, self.kinds), *map(asdict, self.refusals())]

    def estimate(self, prices: PriceTable, betas: Container[str] = ()) -> Estimate:
        """Return the lowest and the highest cost of all of them; unknown if any price is."""
        costs = [(kind.model, *kind.costs(prices)) for kind in self.kinds]
        lows = [low for _model, low, _high in costs if low is not None]
        highs = [high for _model, _low, high in costs if high is not None]
        unknown = sorted({model for model, low, high in costs if low is None or high is None})
        models = sorted({kind.model for kind in self.kinds})
        retirements = tuple(said for model in models if (said := prices.retirement(model)))
        refusals = tuple(replace(one) for one in self.refusals(betas))
        if unknown:
            return Estimate(None, None, prices.as_of, tuple(unknown), retirements, refusals)
        return Estimate(sum(lows, Decimal(0)), sum(highs, Decimal(0)), prices.as_of, (), retirements, refusals)
