"""Filters that no table has to be read for: those over results and requests are offered only inside one batch."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from django_claude_batches.admin.base.error_groups import error_groups_now
from django_claude_batches.admin.notices.checks import known_accounts
from django_claude_batches.db.leases import after
from django_claude_batches.models import BatchResult, MessageBatch

BATCH = "batch"
"""The parameter of the lists of requests and results that names their batch."""

ATTENTION = "attention"
"""The parameter of the lists of batches and runs that leaves those that wait for a person."""

NEARING = "nearing"
"""The parameter of the list of batches that leaves those about to be too late."""

RUN = "run"
"""The parameter of the list of batches that names their run."""

MOST_KINDS = 100


def batch_pk(request: HttpRequest) -> int | None:
    """Give the primary key of the batch that a list is about."""
    return _pk(request.GET.get(BATCH, ""))


def _pk(given: str) -> int | None:
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
        return [(alias, alias) for alias in known_accounts()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(account=self.value()) if self.value() else queryset


class AttentionFilter(SimpleListFilter):
    """Those that wait for a person, and complete ones with something missing or an error of the app's."""

    title = _("needs attention")
    parameter_name = ATTENTION

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Iterable[tuple[str, Any]]:
        return [("yes", _("Yes"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.needing_attention() if self.value() == "yes" else queryset


class AgeFilter(SimpleListFilter):
    """By when it was drafted, as the column says."""

    title = _("age")
    parameter_name = "age"
    days = {"1": _("Up to a day"), "7": _("Up to a week"), "30": _("Up to 30 days"), "more": _("More than 30 days")}

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Iterable[tuple[str, Any]]:
        return list(self.days.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = self.value()
        if chosen == "more":
            return queryset.filter(drafted_at__lt=after(-timedelta(days=30)))
        return queryset.filter(drafted_at__gte=after(-timedelta(days=int(chosen)))) if chosen in self.days else queryset


class NearingFilter(SimpleListFilter):
    """Those that the notice above the pages is about. An index serves it: few batches are in flight."""

    title = _("nearing an end")
    parameter_name = NEARING

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Iterable[tuple[str, Any]]:
        return [("yes", _("24 hours, or 29 days unfetched"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.nearing_their_end() if self.value() == "yes" else queryset


class OneFilter(SimpleListFilter):
    """The one row that a list is about. It offers no other: those are reached from their pages."""

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Iterable[tuple[str, str]]:
        pk = _pk(request.GET.get(str(self.parameter_name), ""))
        return [] if pk is None else [(str(pk), f"#{pk}")]

    def has_output(self) -> bool:
        return self.value() is not None

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() is None:
            return queryset
        pk = _pk(self.value() or "")
        return queryset.none() if pk is None else queryset.filter(**{str(self.parameter_name): pk})


class BatchFilter(OneFilter):
    """The one batch that a list of requests or results is about."""

    title = _("batch")
    parameter_name = BATCH


class RunFilter(OneFilter):
    """The one run that a list of batches is about."""

    title = _("run")
    parameter_name = RUN


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
        "unfinished": _("Not finished"),
        "invalid_output": _("Does not fit its schema"),
    }


class RequestOutcomeFilter(InBatchFilter):
    methods = {"missing": _("Without a result")}

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Compare the batch's requests with the batch's results: `missing()` looks among those of all batches."""
        pk = batch_pk(request)
        if self.value() not in self.methods or pk is None:
            return queryset
        results = BatchResult.objects.using(queryset.db).filter(batch=pk, request=OuterRef("pk"))
        return queryset.filter(~Exists(results))


class TierFilter(InBatchFilter):
    title = _("price")
    parameter_name = "tier"
    methods = {"of_another_tier": _("Not the batch price"), "of_unknown_cost": _("Cost not known")}


class ErrorTypeFilter(SimpleListFilter):
    """The kinds of error of the one batch that the list is about."""

    title = _("kind of error")
    parameter_name = "error_type"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Iterable[tuple[str, str]]:
        pk = batch_pk(request)
        groups = [] if pk is None else error_groups_now(pk)
        return [(group.error_type, f"{group.error_type or '-'} ({group.rows:,})") for group in groups]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        kind = self.value()
        if kind is None or batch_pk(request) is None:
            return queryset
        known = dict(self.lookup_choices)
        return queryset.errored().filter(error_type=kind) if kind in known else queryset.none()
