from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_claude_batches.models.lease import PrimaryQuerySet
from django_claude_batches.models.result import BatchResult


class UsageRollupQuerySet(PrimaryQuerySet["UsageRollup"]):
    def sum_up(self, batch_id: int) -> None:
        """Write one row for each model of the batch's succeeded results, instead of those of before."""
        sums = [field.name for field in self.model._meta.fields if field.name.endswith(("_tokens", "_requests"))]
        results = BatchResult.objects.using(self.db).succeeded().filter(batch=batch_id).order_by("model")
        totals = results.values_list("model").annotate(models.Count("pk"), *[models.Sum(name) for name in sums])
        self.filter(batch=batch_id).delete()
        self.bulk_create(
            self.model(
                batch_id=batch_id,
                model=model,
                results=count,
                **{name: total or 0 for name, total in zip(sums, found, strict=True)},
            )
            for model, count, *found in totals
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
