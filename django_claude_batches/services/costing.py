"""What a result cost, by the prices of the day on which it is stored. Pure."""

from __future__ import annotations

from decimal import Decimal

from django_claude_batches.models.result import BATCH_TIERS, ResultType
from django_claude_batches.models.rows import ResultRow
from django_claude_batches.pricing import PriceTable

UNBILLED = frozenset({ResultType.ERRORED, ResultType.CANCELED, ResultType.EXPIRED})
"""What failed costs nothing (docs/reference/wire.md §3.5); a refusal, and an answer that was cut, what they used."""

NOTHING = Decimal(0)


def cost(row: ResultRow, prices: PriceTable) -> Decimal | None:
    """Give what the result cost, in USD; None where its tokens, its model's price or its discount are not known."""
    if row.result_type in UNBILLED:
        return NOTHING
    if row.result_type != ResultType.SUCCEEDED or row.service_tier not in BATCH_TIERS:
        return None
    if row.input_tokens is None or row.output_tokens is None:
        return None
    return prices.cost(
        row.model,
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        cache_write_5m_tokens=row.cache_write_5m_tokens or 0,
        cache_write_1h_tokens=row.cache_write_1h_tokens or 0,
        cache_read_tokens=row.cache_read_tokens or 0,
        web_search_requests=row.web_search_requests or 0,
        inference_geo=row.inference_geo,
    )
