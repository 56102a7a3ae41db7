"""Estimate the cost of submitting, and decide whether a person must confirm it.

The limits are the settings CONFIRM_ABOVE_USD and CONFIRM_ABOVE_REQUESTS.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

from django_claude_batches import conf
from django_claude_batches.estimates import Estimate, ExpectedRefusal
from django_claude_batches.models import JobRun, MessageBatch


def estimate(batches: Sequence[MessageBatch]) -> Estimate:
    """Add up the estimates of the batches by current prices; unknown if that of any batch is."""
    prices = conf.prices()
    each = [batch.estimate(prices) for batch in batches]
    lows = [one.low for one in each if one.low is not None]
    highs = [one.high for one in each if one.high is not None]
    retirements = tuple(dict.fromkeys(said for one in each for said in one.retirements))
    refusals = ExpectedRefusal.added_up(
        (f"#{batch.pk}", one.refusals) for batch, one in zip(batches, each, strict=True)
    )
    if len(lows) < len(each) or len(highs) < len(each):
        unknown = sorted({model for one in each for model in one.unknown_models})
        return Estimate(None, None, prices.as_of, tuple(unknown), retirements, refusals)
    return Estimate(sum(lows, Decimal(0)), sum(highs, Decimal(0)), prices.as_of, (), retirements, refusals)


def estimate_retry(runs: Sequence[JobRun], rows: int) -> Estimate:
    """Estimate the cost of retrying so many rows of these runs, as a share of the first attempts' cost.

    The cost of longer answers with a higher `max_tokens` is not included.
    """
    first = MessageBatch.objects.primary().filter(run__in=[run.pk for run in runs], run_attempt=1)
    batches = list(first.only("request_count", "expected_usage", "betas"))
    whole = sum(batch.request_count for batch in batches)
    if not whole:
        return Estimate(None, None, conf.prices().as_of)
    return estimate(batches).times(Decimal(rows) / whole)


def needs_confirmation(requests: int, estimated: Callable[[], Estimate]) -> bool:
    """Return whether the number of requests, or the highest estimated cost in USD, is above a limit of the settings.

    An unknown estimate is above any limit in USD.
    """
    most_requests, most_usd = conf.confirm_above_requests(), conf.confirm_above_usd()
    if most_requests is not None and requests > most_requests:
        return True
    if most_usd is None:
        return False
    high = estimated().high
    return high is None or high > most_usd
