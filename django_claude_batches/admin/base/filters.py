"""Filters and parameters of query strings that several lists share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

# Parameter of the lists of requests and results: the batch whose rows are listed.
BATCH = "batch"

# Parameter of the lists of batches and runs: only those that need attention.
ATTENTION = "attention"

# Parameter of the list of batches: only those that are near a deadline.
NEARING = "nearing"

# Parameter of the list of batches: the run whose batches are listed.
RUN = "run"


def batch_pk(request: HttpRequest) -> int | None:
    """Return the primary key of the batch whose rows are listed, if the list is of one batch."""
    return read_pk(request.GET.get(BATCH, ""))


def read_pk(text: str) -> int | None:
    """Return the text as a primary key, or None. A number of more than 18 digits is no primary key in any database."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def label_or_number(term: str, column: str) -> Q:
    """Match rows that have the term in their label, as their number, or as all of this column."""
    wanted = Q(label__icontains=term) | Q(**{column: term})
    pk = read_pk(term.removeprefix("#"))
    return wanted if pk is None else wanted | Q(pk=pk)


class ColumnFilter(SimpleListFilter):
    """Rows with the chosen value in the column that is named like the parameter."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(**{str(self.parameter_name): self.value()}) if self.value() else queryset


class AttentionFilter(SimpleListFilter):
    """Rows that need attention."""

    title = _("needs attention")
    parameter_name = ATTENTION

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Iterable[tuple[str, Any]]:
        return [("yes", _("Yes"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.needing_attention() if self.value() == "yes" else queryset


class OneFilter(SimpleListFilter):
    """The one batch or run whose rows are listed. It has no other choices: such lists are linked from other pages."""

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Iterable[tuple[str, str]]:
        pk = read_pk(request.GET.get(str(self.parameter_name), ""))
        return [] if pk is None else [(str(pk), f"#{pk}")]

    def has_output(self) -> bool:
        return self.value() is not None

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() is None:
            return queryset
        pk = read_pk(self.value() or "")
        return queryset.none() if pk is None else queryset.filter(**{str(self.parameter_name): pk})
