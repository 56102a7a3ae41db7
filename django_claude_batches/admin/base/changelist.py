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


# Values of an empty cell.
BLANK = (EMPTY, "", None)


def _value(page: Any, row: Any, name: str) -> Any:
    return getattr(page, name)(row) if hasattr(page, name) else getattr(row, name)


class CappedPaginator(Paginator):  # type: ignore[type-arg]
    """A paginator that counts at most one row more than the cap."""

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
    """A change list that defers large columns, reduces texts to what the user may see, and hides empty columns."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> Any:
        """Return the rows, with their texts reduced to what the user may see.

        Raises PermissionDenied for users who may not view the rows. The list's page checks that before; pages that a
        project adds to it, such as django-import-export's export, may not. Raises IncorrectLookupParameters for a NUL
        in a parameter, which PostgreSQL accepts in no text; Django then redirects to `?e=1`.
        """
        if not self.model_admin.has_view_or_change_permission(request):
            raise PermissionDenied
        # Django's search form refuses a NUL in the search term itself.
        lookups = (values for name, values in request.GET.lists() if name != SEARCH_VAR)
        if any("\0" in value for values in lookups for value in values):
            raise IncorrectLookupParameters
        page: Any = self.model_admin
        rows: Any = super().get_queryset(request, exclude_parameters)
        # On the queryset, not only on the list: pages that a project adds, such as an export, read this queryset.
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
        self.result_list = self.in_reading_order(request)
        self.complete(request, list(self.result_list))
        self.list_display = [name for name in self.list_display if name not in self._empty_columns()]

    def in_reading_order(self, request: HttpRequest) -> Any:
        """Return the rows of the page in the order in which they are shown; they may be counted in another."""
        return self.result_list

    def annotated(self, rows: Any) -> Any:
        """Return the rows with the annotations that the columns show. Only the rows of the page are read."""
        return rows

    def complete(self, request: HttpRequest, rows: list[Any]) -> None:
        """Set the attributes that the columns show on the rows of the page."""

    def _empty_columns(self) -> set[str]:
        """Return the optional columns that are hidden because no row of the page has a value."""
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
        """Return whether there are no rows at all: the list is empty without a search or a filter."""
        return not (self.result_count or self.query or self.filter_params)

    @property
    def is_capped(self) -> bool:
        return self.result_count > CAP
