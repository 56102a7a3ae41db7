from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import reduce
from operator import add
from typing import Any

from django.db import models
from django.db.models import Case, F, Value, When
from django.db.models.functions import Coalesce
from django.utils.translation import gettext_lazy as _

from django_claude_batches.models.lease import PrimaryQuerySet
from django_claude_batches.models.result import BatchResult
from django_claude_batches.pricing import PriceTable

TOKENS = (
    "input_tokens",
    "output_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "cache_read_tokens",
)
COUNTED = (*TOKENS, "web_search_requests")


class UsageRollupQuerySet(PrimaryQuerySet["UsageRollup"]):
    def sum_up(self, batch_id: int, prices: PriceTable) -> Decimal | None:
        """Write one row for each model of the batch's succeeded results, instead of those of before.

        Give what they cost together, in USD; None if that of any is not known. What failed costs nothing
        (docs/reference/wire.md §3.5); a refusal, and an answer that was cut, cost what they used.
        """
        rows: dict[str, UsageRollup] = {}
        for group in self._groups(batch_id, prices):
            row = rows.setdefault(group.model, self.model(batch_id=batch_id, model=group.model, results=0, cost_usd=0))
            row.results += group.results
            for name in COUNTED:
                setattr(row, name, getattr(row, name) + group.counts[name])
            cost = group.cost(prices)
            row.cost_usd = None if cost is None or row.cost_usd is None else row.cost_usd + cost
        self.filter(batch=batch_id).delete()
        self.bulk_create(rows.values())
        costs = [row.cost_usd for row in rows.values()]
        return None if None in costs else sum((cost for cost in costs if cost is not None), Decimal(0))

    def _groups(self, batch_id: int, prices: PriceTable) -> Iterator[_Group]:
        """Add up the results, of one model and place each time, and with prompts in the same band: all at one rate."""
        prompt = reduce(add, (Coalesce(F(name), 0) for name in TOKENS if name != "output_tokens"))
        band = reduce(add, (Case(When(prompt__gt=size, then=1), default=0) for size in prices.thresholds), Value(0))
        results = BatchResult.objects.using(self.db).succeeded().filter(batch=batch_id).order_by("model")
        found = results.annotate(prompt=prompt, band=band).values("model", "inference_geo", "band")
        both = Case(When(input_tokens__isnull=False, output_tokens__isnull=False, then=1))
        sums = {f"{name}_sum": models.Sum(name, default=0) for name in COUNTED}
        groups: Any = found.annotate(
            count=models.Count("pk"), known=models.Count(both), longest=models.Max("prompt"), **sums
        )
        for row in groups:
            counts = {name: int(row[f"{name}_sum"]) for name in COUNTED}
            is_known = row["known"] == row["count"]
            yield _Group(row["model"], row["inference_geo"], row["count"], int(row["longest"]), counts, is_known)


@dataclass(frozen=True)
class _Group:
    """Results that have one rate; `longest_prompt` is in tokens, and tells which."""

    model: str
    inference_geo: str
    results: int
    longest_prompt: int
    counts: dict[str, int]
    is_known: bool

    def cost(self, prices: PriceTable) -> Decimal | None:
        if not self.is_known:
            return None
        return prices.cost(
            self.model, inference_geo=self.inference_geo, prompt_tokens=self.longest_prompt, **self.counts
        )


class UsageRollup(models.Model):
    """The sums of a batch's succeeded results for one model: usage pages read these and never scan results.

    Tokens are counts of tokens, `cost_usd` is in US dollars (null: not known).
    """

    batch = models.ForeignKey("MessageBatch", on_delete=models.CASCADE, related_name="usage")
    model = models.CharField(_("model"), max_length=100, blank=True)
    results = models.PositiveIntegerField(_("results"))
    input_tokens = models.BigIntegerField(_("input tokens"), default=0)
    output_tokens = models.BigIntegerField(_("output tokens"), default=0)
    cache_write_5m_tokens = models.BigIntegerField(_("cache write tokens (5 minutes)"), default=0)
    cache_write_1h_tokens = models.BigIntegerField(_("cache write tokens (1 hour)"), default=0)
    cache_read_tokens = models.BigIntegerField(_("cache read tokens"), default=0)
    web_search_requests = models.BigIntegerField(_("web searches"), default=0)
    cost_usd = models.DecimalField(_("cost (USD)"), max_digits=18, decimal_places=9, null=True, blank=True)

    objects = UsageRollupQuerySet.as_manager()

    class Meta:
        verbose_name = _("usage")
        verbose_name_plural = _("usage")
        constraints = [models.UniqueConstraint(fields=["batch", "model"], name="dcb_usage_model")]

    def __str__(self) -> str:
        return f"{self.model}: {self.results}"
