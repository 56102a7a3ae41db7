"""Filters that no table has to be read for: those over results and requests are offered only inside one batch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from django_claude_batches import conf
from django_claude_batches.models import MessageBatch

BATCH = "batch"
"""The parameter of the lists of requests and results that names their batch."""

NEARING = "nearing"
"""The parameter of the list of batches that leaves those about to be too late."""

MOST_KINDS = 100


def batch_pk(request: HttpRequest) -> int | None:
    """Give the primary key of the batch that a list is about."""
    given = request.GET.get(BATCH, "")
    return int(given) if given.isascii() and given.isdigit() and len(given) < 19 else None


class KindFilter(SimpleListFilter):
    title = _("kind")
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Iterable[tuple[str, str]]:
        # The column has an index, and batches are thousands where results are millions.
        kinds = MessageBatch.objects.primary().exclude(kind="").order_by("kind").values_list("kind", flat=True)
        return [(kind, kind) for kind in kinds.distinct()[:MOST_KINDS]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(kind=self.value()) if self.value() else queryset


class AccountFilter(SimpleListFilter):
    title = _("account")
    parameter_name = "account"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Iterable[tuple[str, str]]:
        return [(alias, alias) for alias in sorted(conf.accounts())]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(account=self.value()) if self.value() else queryset


class NearingFilter(SimpleListFilter):
    """Those that the notice above the pages is about. An index serves it: few batches are in flight."""

    title = _("nearing an end")
    parameter_name = NEARING

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Iterable[tuple[str, Any]]:
        return [("yes", _("24 hours, or 29 days unfetched"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.nearing_their_end() if self.value() == "yes" else queryset


class BatchFilter(SimpleListFilter):
    """The one batch that a list is about. It offers no other: those are reached from their pages."""

    title = _("batch")
    parameter_name = BATCH

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Iterable[tuple[str, str]]:
        pk = batch_pk(request)
        return [] if pk is None else [(str(pk), f"#{pk}")]

    def has_output(self) -> bool:
        return self.value() is not None

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() is None:
            return queryset
        pk = batch_pk(request)
        return queryset.none() if pk is None else queryset.filter(batch=pk)


class InBatchFilter(SimpleListFilter):
    """Named methods of the queryset, offered only inside a batch: there an index serves them."""

    title = _("outcome")
    parameter_name = "outcome"
    methods: dict[str, Any] = {}

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Iterable[tuple[str, str]]:
        return list(self.methods.items())

    def has_output(self) -> bool:
        return batch_pk(self.request) is not None

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        chosen = self.value()
        return getattr(queryset, chosen)() if chosen in self.methods and self.has_output() else queryset


class ResultOutcomeFilter(InBatchFilter):
    methods = {
        "succeeded": _("Succeeded"),
        "errored": _("Errored"),
        "canceled": _("Canceled"),
        "expired": _("Expired"),
        "truncated": _("Cut off at max_tokens"),
        "refused": _("Refused by the model"),
    }


class RequestOutcomeFilter(InBatchFilter):
    methods = {"missing": _("Without a result")}
