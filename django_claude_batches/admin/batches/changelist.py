"""The change list of batches, with the total cost of the listed batches."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_claude_batches.admin.base import display
from django_claude_batches.admin.base.changelist import LeanChangeList
from django_claude_batches.admin.base.outcomes import outcome_url
from django_claude_batches.admin.base.permissions import Viewer
from django_claude_batches.models import AccountState, UsageRollup
from django_claude_batches.models.batch.attention import in_words, with_reason
from django_claude_batches.models.batch.outcomes import with_invalid_count
from django_claude_batches.models.usage_totals import sums_of


class BatchChangeList(LeanChangeList):
    def annotated(self, rows: Any) -> Any:
        return with_invalid_count(with_reason(rows))

    def complete(self, request: HttpRequest, rows: list[Any]) -> None:
        """Add outcomes and their links, why a batch needs attention, and its account if there are several."""
        page: Any = self.model_admin
        viewer: Viewer = page.viewer(request)
        has_accounts = len({*viewer.aliases(), *(batch.account for batch in rows)}) > 1
        may_view_accounts = viewer.may_view(AccountState)
        for batch in rows:
            if not may_view_accounts:
                batch.pause_reason = _("the account's page says why.")
            batch.attention_text = in_words(batch)
            batch.shown_account = batch.account if has_accounts else ""
            batch.outcome_url = partial(outcome_url, viewer, batch.pk)

    @cached_property
    def spent(self) -> str:
        """Return the total cost of the listed batches, on all pages, as text; empty if none is billed. One query."""
        listed = self.queryset.order_by().values("pk")
        sums = sums_of(UsageRollup.objects.using(self.queryset.db).filter(batch__in=listed))
        if not sums.requests and not sums.unpriced_results:
            return ""
        amount = display.usd(sums.cost_usd)
        if not sums.unpriced_results:
            return format_html(_("Cost of all batches in this list: {amount}"), amount=amount)
        unknown = ngettext("%(n)s result of unknown cost", "%(n)s results of unknown cost", sums.unpriced_results)
        unknown %= {"n": f"{sums.unpriced_results:,}"}
        text = _("Cost of all batches in this list: at least {amount} ({unknown})")
        return format_html(text, amount=amount, unknown=unknown)
