from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_claude_batches.estimates import Estimate, ExpectedUsage
from django_claude_batches.pricing import PriceTable


class ExpectedUsageColumns(models.Model):
    """What was counted in a batch's requests when they were drafted, and what they may cost."""

    expected_usage = models.JSONField(null=True, editable=False, help_text=_("What its estimate is made of."))

    class Meta:
        abstract = True

    def estimate(self, prices: PriceTable) -> Estimate:
        """Estimate what its requests will cost, by the rule of `estimates`; unknown for an adopted batch."""
        if self.expected_usage is None:
            return Estimate(None, None, prices.as_of)
        betas = getattr(self, "betas", ())  # an upload has none: a person adds them to its draft
        return ExpectedUsage(self.expected_usage).estimate(prices, betas)
