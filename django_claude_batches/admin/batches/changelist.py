"""The list of batches, with what the listed ones cost together."""

from __future__ import annotations

from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_claude_batches.admin.base import display
from django_claude_batches.admin.base.changelist import LeanChangeList
from django_claude_batches.models import UsageRollup
from django_claude_batches.models.outcomes import read_invalid_counts
from django_claude_batches.models.usage_totals import sums_of


class BatchChangeList(LeanChangeList):
    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        read_invalid_counts(self.result_list)

    @cached_property
    def spent(self) -> str:
        """Return what all batches that match cost, also those of other pages; empty if none is billed. One query."""
        listed = self.queryset.order_by().values("pk")
        sums = sums_of(UsageRollup.objects.using(self.queryset.db).filter(batch__in=listed))
        if not sums.requests and not sums.unpriced_results:
            return ""
        text = _("Cost of all batches in this list: %(cost)s") % {
            "cost": display.spent(sums.cost_usd, sums.unpriced_results)
        }
        if not sums.unpriced_results:
            return text
        unknown = ngettext("%(n)s result of unknown cost", "%(n)s results of unknown cost", sums.unpriced_results)
        return f"{text} ({unknown % {'n': f'{sums.unpriced_results:,}'}})"
