"""The cost and the tokens of a batch, as facts and as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_claude_batches import conf
from django_claude_batches.admin.base import display
from django_claude_batches.admin.base.display import Fact
from django_claude_batches.admin.base.safe_settings import known
from django_claude_batches.models import MessageBatch, State, UsageRollup
from django_claude_batches.models.batch_state import UNSENT
from django_claude_batches.models.usage import USAGE_COLUMNS

# States in which the cost is known, or will never be.
PRICED = frozenset({State.INGESTED, State.LOST, State.ABANDONED})

THROUGH_CACHE = ("cache_write_5m_tokens", "cache_write_1h_tokens", "cache_read_tokens")


def spending(batch: MessageBatch, usage: Sequence[UsageRollup]) -> Iterator[Fact]:
    """Yield the estimated cost until the batch is complete, and then the cost and the tokens."""
    if batch.state not in PRICED and (prices := known(conf.prices, None)):
        label = _("Estimate before sending") if batch.state in UNSENT else _("Estimated cost")
        yield Fact(label, display.estimate(batch.estimate(prices)))
    if batch.state == State.INGESTED:
        yield Fact(_("Cost"), _cost(batch))
        yield Fact(_("Tokens"), tokens({name: sum(getattr(row, name) for row in usage) for name in USAGE_COLUMNS}))
        if others := sum(row.other_tier_results for row in usage):
            yield Fact(_("Not billed at the batch rate"), _other_tier(others))


def usage_table(usage: Sequence[UsageRollup]) -> list[tuple[str, list[str]]]:
    """Return a row for each model: its name, its counts in the order of the columns, and its cost."""
    return [
        (
            row.model,
            [f"{getattr(row, name):,}" for name in ("results", *USAGE_COLUMNS)]
            + [display.usd(row.cost_usd, unpriced=row.unpriced_results)],
        )
        for row in usage
    ]


def tokens(used: Mapping[str, int]) -> str:
    """Return the numbers of tokens as text, by the names of the columns of `UsageRollup`."""
    cached = sum(used[name] for name in THROUGH_CACHE)
    parts = [_("%(n)s in") % {"n": f"{used['input_tokens']:,}"}, _("%(n)s out") % {"n": f"{used['output_tokens']:,}"}]
    if cached:
        parts.append(_("%(n)s through the cache") % {"n": f"{cached:,}"})
    return ", ".join(parts)


def _other_tier(count: int) -> str:
    text = ngettext(
        "%(n)s result: Anthropic answered it in another service tier.",
        "%(n)s results: Anthropic answered them in another service tier.",
        count,
    )
    return text % {"n": f"{count:,}"}


def _cost(batch: MessageBatch) -> str:
    if batch.cost_usd is None:
        return _("not known: a model without a price, or an answer without a clear token count")
    return display.usd(batch.cost_usd, batch.prices_as_of)
