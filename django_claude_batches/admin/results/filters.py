"""Filters of the lists of results and requests.

Within one batch, an index serves each filter. In the list of all results, a filter selects only among the newest
batches that have matching rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.db.models import Exists, OuterRef
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from django_claude_batches.admin.base.error_groups import error_groups_now
from django_claude_batches.admin.base.filters import BATCH, RUN, OneFilter, batch_pk
from django_claude_batches.admin.results.newest_batches import NewestBatches
from django_claude_batches.admin.results.row_list import SEARCH_AFTER, SEARCH_IN
from django_claude_batches.models import BatchResult


class BatchFilter(OneFilter):
    """The batch whose requests or results are listed."""

    title = _("batch")
    parameter_name = BATCH


class RunFilter(OneFilter):
    """The run whose results are listed."""

    title = _("run")
    parameter_name = RUN

    def __init__(self, request: HttpRequest, params: Any, model: Any, model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        self._page = model_admin

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Select the results of the run's newest batches: `newest_batches` also reads the run in the query string."""
        if self.value() is None:
            return queryset
        return queryset.filter(batch__in=[batch.pk for batch in self._page.newest_batches(request).batches])


class ReadBySearch(SimpleListFilter):
    """A parameter of the search, which would be refused without a filter. It has no choices: the search form has."""

    title = ""

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Iterable[tuple[str, str]]:
        return []

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset


class SearchIn(ReadBySearch):
    parameter_name = SEARCH_IN


class SearchAfter(ReadBySearch):
    parameter_name = SEARCH_AFTER


class InBatchFilter(SimpleListFilter):
    """A filter whose choices are names of queryset methods. Shown only within a batch, where an index serves it."""

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


class ResultFilter(InBatchFilter):
    """A filter whose choices are names of queryset methods. In the list of all results, it reads the newest batches."""

    def __init__(self, request: HttpRequest, params: Any, model: Any, model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        self._page = model_admin

    def has_output(self) -> bool:
        return True

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        found = super().queryset(request, queryset)
        chosen = self.value()
        if chosen not in self.methods or batch_pk(request) is not None:
            return found
        return found.filter(batch__in=self.batches(self._page.newest_batches(request), chosen))

    def batches(self, newest: NewestBatches, chosen: str) -> list[int]:
        """Return the primary keys of the batches that have rows with the chosen value."""
        return newest.with_outcome(chosen)


class ResultOutcomeFilter(ResultFilter):
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
        """Compare with the results of this batch only: `missing()` would search the results of all batches."""
        pk = batch_pk(request)
        if self.value() not in self.methods or pk is None:
            return queryset
        results = BatchResult.objects.using(queryset.db).filter(batch=pk, request=OuterRef("pk"))
        return queryset.filter(~Exists(results))


class TierFilter(ResultFilter):
    title = _("price")
    parameter_name = "tier"
    methods = {"of_another_tier": _("Not billed at the batch rate"), "of_unknown_cost": _("Cost not known")}

    def batches(self, newest: NewestBatches, chosen: str) -> list[int]:
        return newest.of_another_tier() if chosen == "of_another_tier" else newest.of_unknown_cost()


class ErrorTypeFilter(SimpleListFilter):
    """The kinds of error of the one batch that the list is about, or of the newest batches."""

    title = _("kind of error")
    parameter_name = "error_type"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Iterable[tuple[str, str]]:
        page: Any = model_admin
        self._page = page
        if batch_pk(request) is None:
            groups = page.newest_batches(request).error_groups()
        else:
            batch = page.listed_batch(request)
            groups = [] if batch is None else error_groups_now(batch)
        return [(group.error_type, f"{group.error_type or '-'} ({group.rows:,})") for group in groups]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        kind = self.value()
        if kind is None:
            return queryset
        if kind not in dict(self.lookup_choices):
            return queryset.none()
        found = queryset.errored().filter(error_type=kind)
        if batch_pk(request) is not None:
            return found
        return found.filter(batch__in=self._page.newest_batches(request).with_error(kind))
