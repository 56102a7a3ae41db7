"""The change list of requests and results: its order, and what its search covered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from django_claude_batches.admin.base.changelist import LeanChangeList

# Parameters of a list's query string, besides the search term: what is searched, and after which key.
SEARCH_IN = "in"
SEARCH_AFTER = "after"

# The value of SEARCH_IN for words of the answers; without it, custom_ids are searched.
ANSWERS = "answers"


@dataclass(frozen=True, slots=True)
class Searched:
    """A text that says what was searched, and the key after which to continue; None if all rows were read."""

    text: str
    after: Any = None


def remember_search(request: HttpRequest, searched: Searched) -> None:
    """Keep the outcome of a search on the HTTP request: Django's change list receives only the rows."""
    vars(request)["_dcb_searched"] = searched


class RowList(LeanChangeList):
    searched = ""

    # The query string that continues the search; empty if it read all rows.
    search_on = ""

    # The query string that searches the answers instead, where no custom_id was found.
    search_answers = ""

    # A text that says among which rows a filter selected, if not among all.
    narrowed_to = ""

    # What can be searched: each value of SEARCH_IN, its label, and whether it is selected.
    search_choices: list[tuple[str, Any, bool]] = []

    # Parameters that the search form sends itself.
    search_parameters = (SEARCH_IN, SEARCH_AFTER)

    def in_reading_order(self, request: HttpRequest) -> Any:
        if not self.result_count:
            return self.queryset.none()  # a second query that finds nothing may read all rows of the batch again
        page: Any = self.model_admin
        found = self._page_of(page.in_reading_order(request, self.queryset))
        # Fewer rows than counted: some results have no request. Keep the other order, so that no row is missing.
        is_whole = len(found) >= min(self.list_per_page, self.result_count - self._first)
        return found if is_whole else self._page_of(self.queryset)

    def complete(self, request: HttpRequest, rows: list[Any]) -> None:
        page: Any = self.model_admin
        page.complete_rows(request, rows)
        self.narrowed_to = page.narrowed_to(request)
        chosen = request.GET.get(SEARCH_IN, "")
        self.search_choices = [(name, label, name == chosen) for name, label in page.search_choices(request)]
        self._describe(vars(request).get("_dcb_searched"))

    @property
    def _first(self) -> int:
        return (self.page_num - 1) * self.list_per_page

    def _page_of(self, rows: Any) -> Any:
        return rows[self._first : self._first + self.list_per_page] if self.multi_page else rows

    def _describe(self, searched: Searched | None) -> None:
        if searched is None:
            return
        self.searched = searched.text
        self.search_on = "" if searched.after is None else self.get_query_string({SEARCH_AFTER: searched.after})
        is_of_custom_ids = self.params.get(SEARCH_IN) != ANSWERS
        if self.search_choices and is_of_custom_ids and not self.result_count:
            self.search_answers = self.get_query_string({SEARCH_IN: ANSWERS})
