"""Filters of the lists of results and requests, offered only within one batch, where an index serves them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.db.models import Exists, OuterRef
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from django_claude_batches.admin.base.error_groups import error_groups_now
from django_claude_batches.admin.base.filters import BATCH, OneFilter, batch_pk
from django_claude_batches.admin.base.permissions import Viewer
from django_claude_batches.models import BatchResult, MessageBatch


class BatchFilter(OneFilter):
    """The one batch that a list of requests or results is about."""

    title = _("batch")
    parameter_name = BATCH


class InBatchFilter(SimpleListFilter):
    """Named methods of the queryset, offered only within a batch, where an index serves them."""

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
        "usable": _("Succeeded"),
        "succeeded": _("Answered"),
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
        """Compare the batch's requests with the batch's results: `missing()` searches the results of all batches."""
        pk = batch_pk(request)
        if self.value() not in self.methods or pk is None:
            return queryset
        results = BatchResult.objects.using(queryset.db).filter(batch=pk, request=OuterRef("pk"))
        return queryset.filter(~Exists(results))


class TierFilter(InBatchFilter):
    title = _("price")
    parameter_name = "tier"
    methods = {"of_another_tier": _("Not billed at the batch rate"), "of_unknown_cost": _("Cost not known")}


class ErrorTypeFilter(SimpleListFilter):
    """The kinds of error of the one batch that the list is about."""

    title = _("kind of error")
    parameter_name = "error_type"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Iterable[tuple[str, str]]:
        pk = batch_pk(request)
        groups = [] if pk is None or not _is_visible(pk, request, model_admin) else error_groups_now(pk)
        return [(group.error_type, f"{group.error_type or '-'} ({group.rows:,})") for group in groups]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        kind = self.value()
        if kind is None or batch_pk(request) is None:
            return queryset
        known = dict(self.lookup_choices)
        return queryset.errored().filter(error_type=kind) if kind in known else queryset.none()


def _is_visible(batch_id: int, request: HttpRequest, model_admin: Any) -> bool:
    viewer: Viewer = model_admin.viewer(request)
    return viewer.accounts is None or viewer.rows(MessageBatch).filter(pk=batch_id).exists()
