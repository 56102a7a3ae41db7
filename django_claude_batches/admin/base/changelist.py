"""Lists over tables of any size: counts are capped, and no prompt or answer is read for a row of a list."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import SEARCH_VAR, ChangeList
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest
from django.utils.functional import cached_property

from django_claude_batches.admin.base.display import EMPTY
from django_claude_batches.admin.base.lookups import is_long_text

# Rows of a list that can be paged to. Counting millions is slow, and people do not page that far.
CAP = 10_000


# Values of a column that has nothing to say.
BLANK = (EMPTY, "", None)


def _value(page: Any, row: Any, name: str) -> Any:
    return getattr(page, name)(row) if hasattr(page, name) else getattr(row, name)


class CappedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts at most one row more than the cap."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        # Ordered by the list's order, which an index serves; without its columns, some of which are subqueries.
        return int(rows.values("pk")[: CAP + 1].count())


def _reduced(rows: type[Any], reduce: Callable[[Any], Any]) -> type[Any]:
    """Return an iterable class of a queryset whose rows have their texts reduced to what the user may see."""

    class Reduced(rows):  # type: ignore[misc]
        def __iter__(self) -> Iterator[Any]:
            return map(reduce, super().__iter__())

    return Reduced


class LeanChangeList(ChangeList):
    """Defer the columns that a list never shows."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> Any:
        """Raise IncorrectLookupParameters also for a NUL, which PostgreSQL accepts in no text;

        Django redirects to `?e=1`.

        Raise PermissionDenied for users who may not view the rows. The list's page checks that before; pages that a
        project adds to it, such as django-import-export's export, may not.
        """
        if not self.model_admin.has_view_or_change_permission(request):
            raise PermissionDenied
        lookups = (values for name, values in request.GET.lists() if name != SEARCH_VAR)  # its form refuses one
        if any("\0" in value for values in lookups for value in values):
            raise IncorrectLookupParameters
        page: Any = self.model_admin
        rows: Any = super().get_queryset(request, exclude_parameters)
        # Not in the list alone: pages that a project adds, such as an export, read the rows of this queryset.
        rows._iterable_class = _reduced(rows._iterable_class, partial(page.reduced, request))
        return rows

    def get_results(self, request: HttpRequest) -> None:
        """Defer columns for the list only: a project's actions and exports read all columns of the rows."""
        page: Any = self.model_admin
        self.queryset = self.annotated(self.queryset.defer(*page.heavy_fields))
        try:
            super().get_results(request)
        except OverflowError as error:  # SQLite, for a number too large for any column
            raise IncorrectLookupParameters from error
        self.complete(request, list(self.result_list))
        self.list_display = [name for name in self.list_display if name not in self._empty_columns()]

    def annotated(self, rows: Any) -> Any:
        """Return the rows with what the columns show besides; only the page's rows are read."""
        return rows

    def complete(self, request: HttpRequest, rows: list[Any]) -> None:
        """Add to the rows of the page, and to no others, what their columns show."""

    def _empty_columns(self) -> set[str]:
        """Return the columns that give way because no row of the page has a value."""
        page: Any = self.model_admin
        rows = list(self.result_list)
        optional = [name for name in page.optional_columns if name in self.list_display]
        return {name for name in optional if rows and all(_value(page, row, name) in BLANK for row in rows)}

    def get_ordering_field(self, field_name: Any) -> Any:
        """Return None for a column that is not sortable: Django only omits the links of such headers."""
        found = super().get_ordering_field(field_name) if field_name in (self.sortable_by or ()) else None
        return None if isinstance(found, str) and is_long_text(self.model, found.lstrip("-")) else found

    @property
    def is_empty(self) -> bool:
        """Return whether the list has no rows at all: nothing is searched or filtered."""
        return not (self.result_count or self.query or self.filter_params)

    @property
    def is_capped(self) -> bool:
        return self.result_count > CAP
