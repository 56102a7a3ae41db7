"""Compute the cost of a result, by the prices on the day on which it is stored. No I/O."""

from __future__ import annotations

from decimal import Decimal

from django_claude_batches.models.bulk_rows import ResultRow
from django_claude_batches.models.result import BATCH_TIERS, UNBILLED, ResultType
from django_claude_batches.pricing import PriceTable

ZERO_USD = Decimal(0)


def cost(row: ResultRow, prices: PriceTable) -> Decimal | None:
    """Return the cost of the result in USD; None if its tokens, its model's price or its discount are not known.

    It is also None if `usage` contradicts itself, or if the model has other rates for large prompts and the sizes of
    the answer's prompts are not known.
    """
    if row.result_type in UNBILLED:
        return ZERO_USD
    if row.result_type != ResultType.SUCCEEDED or row.service_tier not in BATCH_TIERS:
        return None
    if row.input_tokens is None or row.output_tokens is None or not row.prompts:
        return None
    if row.prompts == 1:
        return _cost(row, prices)
    costs = {_cost(row, prices), _cost(row, prices, prompt_tokens=0)}
    return costs.pop() if len(costs) == 1 else None


def _cost(row: ResultRow, prices: PriceTable, **options: int) -> Decimal | None:
    return prices.cost(
        row.model,
        input_tokens=row.input_tokens or 0,
        output_tokens=row.output_tokens or 0,
        cache_write_5m_tokens=row.cache_write_5m_tokens or 0,
        cache_write_1h_tokens=row.cache_write_1h_tokens or 0,
        cache_read_tokens=row.cache_read_tokens or 0,
        web_search_requests=row.web_search_requests or 0,
        inference_geo=row.inference_geo,
        **options,
    )
