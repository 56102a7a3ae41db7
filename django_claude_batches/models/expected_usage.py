from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_claude_batches.estimates import Estimate, ExpectedUsage
from django_claude_batches.pricing import PriceTable


class ExpectedUsageColumns(models.Model):
    """The counts of a batch's requests from which its cost is estimated, made while they are drafted."""

    expected_usage = models.JSONField(
        null=True, editable=False, help_text=_("The counts that the cost estimate is computed from.")
    )

    class Meta:
        abstract = True

    def estimate(self, prices: PriceTable) -> Estimate:
        """Estimate what the requests will cost, in USD, as `estimates` does; unknown for an adopted batch."""
        if self.expected_usage is None:
            return Estimate(None, None, prices.as_of)
        betas = getattr(self, "betas", ())  # an upload has none: a person adds them to its draft
        return ExpectedUsage(self.expected_usage).estimate(prices, betas)
