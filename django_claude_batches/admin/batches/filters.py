"""Filters of the list of batches. None of them reads the whole table."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from django_claude_batches.admin.base.filters import NEARING, RUN, ColumnFilter, OneFilter
from django_claude_batches.db.leases import now_plus
from django_claude_batches.models import MessageBatch

# Kinds that the filter offers.
MOST_KINDS = 100


class KindFilter(ColumnFilter):
    title = _("kind")
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        # The column has an index, and there are thousands of batches where there are millions of results.
        batches = model_admin.viewer(request).rows(MessageBatch)
        kinds = batches.exclude(kind="").order_by("kind").values_list("kind", flat=True)
        return [(kind, kind) for kind in kinds.distinct()[:MOST_KINDS]]


class AccountFilter(ColumnFilter):
    title = _("account")
    parameter_name = "account"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return [(alias, alias) for alias in model_admin.viewer(request).aliases()]


class AgeFilter(SimpleListFilter):
    """Filter by the time of drafting, as shown in the column."""

    title = _("age")
    parameter_name = "age"
    days = {"1": _("Up to a day"), "7": _("Up to a week"), "30": _("Up to 30 days"), "more": _("More than 30 days")}

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Iterable[tuple[str, Any]]:
        return list(self.days.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = self.value()
        if chosen == "more":
            return queryset.filter(drafted_at__lt=now_plus(-timedelta(days=30)))
        if chosen in self.days:
            return queryset.filter(drafted_at__gte=now_plus(-timedelta(days=int(chosen))))
        return queryset


class NearingFilter(SimpleListFilter):
    """Batches that are near a deadline, as in the notice above the pages.

    An index serves it: few batches are in flight.
    """

    title = _("deadline")
    parameter_name = NEARING

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Iterable[tuple[str, Any]]:
        return [("yes", _("Near 24 hours, or near 29 days unfetched"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.nearing_deadline() if self.value() == "yes" else queryset


class RunFilter(OneFilter):
    """The run whose batches are listed."""

    title = _("run")
    parameter_name = RUN
