"""The base of all pages: read-only by default, with notices, limited lookups, and rows that the user may see."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.widgets import url_params_from_lookup_dict
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.text import capfirst

from django_claude_batches.admin.base.changelist import CappedPaginator, LeanChangeList
from django_claude_batches.admin.base.display import EMPTY
from django_claude_batches.admin.base.lookups import DATE_PARTS, LOOKUPS, is_long_text, split_lookup, without_key
from django_claude_batches.admin.base.permissions import APP, Viewer, page_url
from django_claude_batches.admin.notices.notices import notices
from django_claude_batches.admin.pages.button import Button

# Columns that may contain errors raised by code of the project.
RAISED = ("last_error", "pause_reason")


class MirrorAdminMixin(admin.ModelAdmin):  # type: ignore[type-arg]
    """A ModelAdmin whose rows cannot be added, changed or deleted, over a table of any size."""

    # Parameters of links between the package's pages: allowed whatever filters the final class has.
    linked_by: tuple[str, ...] = ()

    # The path to the column with the account of a row, by which `visible_accounts` narrows the page.
    account_path = "account"

    # Columns that lists leave in the database.
    heavy_fields: tuple[str, ...] = ()

    # What an empty list says when nothing is searched or filtered: where its rows come from.
    empty_list_text: Any = ""

    # Whether the list has columns with times, whose time zone the page then names.
    list_shows_times = True

    # Columns of the list that are left out where no row of the page has a value.
    optional_columns: tuple[str, ...] = ()

    paginator: ClassVar[Any] = CappedPaginator
    show_full_result_count = False
    show_facets: ClassVar[admin.ShowFacets] = admin.ShowFacets.NEVER
    sortable_by: ClassVar[Any] = ()
    list_max_show_all = 0
    empty_value_display = EMPTY
    view_on_site = False

    class Media:
        css = {"all": ["django_claude_batches/admin.css"]}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> Any:
        queryset: Any = super().get_queryset(request)
        return queryset.primary().of_accounts(self.viewer(request).accounts, self.account_path)

    def visible_accounts(self, request: HttpRequest) -> Collection[str] | None:
        """Return the aliases of the accounts whose rows the user may see and act on; None for all.

        Override it on one page of a site: the limit applies to all pages of this package on that site.
        """
        return None

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Allow the columns of the final class's filters and of the package's links, exact or by range.

        Django allows any lookup of any column, and `?last_error__startswith=` can read a hidden text letter by letter.
        """
        listed: Any = self.get_list_filter(request)
        own = {each.parameter_name for each in listed if hasattr(each, "parameter_name")}
        path, how = split_lookup(self.model, lookup)
        # Not a column, read by the filter itself, or the limit of the popup of a foreign key to the app's rows.
        if not path or lookup in own or (lookup, value) in self._popup_lookups():
            return super().lookup_allowed(lookup, value, request)
        if how not in LOOKUPS and not (how in DATE_PARTS and path == self.date_hierarchy):
            return False
        names = {each if isinstance(each, str) else each[0] for each in listed if not isinstance(each, type)}
        names |= {*self.linked_by, self.date_hierarchy}
        return not is_long_text(self.model, path) and bool({path, without_key(self.model, path)} & names)

    def _popup_lookups(self) -> set[tuple[str, Any]]:
        limits = (each() if callable(each) else each for each in self.opts.related_fkey_lookups)
        return {item for limit in limits for item in url_params_from_lookup_dict(limit).items()}

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[LeanChangeList]:
        return LeanChangeList

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [*super().get_readonly_fields(request, obj), *(field.name for field in self.opts.fields)]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context = {"dcb_when_empty": self.empty_list_text, **(extra_context or {})}
        return super().changelist_view(request, self.with_notices(request, context))

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        return super().render_change_form(request, self.with_notices(request, context), *args, **kwargs)

    def render_page(self, request: HttpRequest, template: str, context: dict[str, Any]) -> TemplateResponse:
        """Return a page that is not one of Django's; `template` is its name in the app's folder."""
        request.current_app = self.admin_site.name
        crumbs = [(capfirst(self.opts.verbose_name_plural), self.viewer(request).list_url(self.model))]
        shared = {**self.admin_site.each_context(request), "opts": self.opts, "media": self.media, "dcb_crumbs": crumbs}
        shared = self.with_notices(request, shared)
        return TemplateResponse(request, f"admin/{APP}/{template}", {**shared, **context})

    def with_notices(self, request: HttpRequest, context: dict[str, Any] | None) -> dict[str, Any]:
        """Add the notices of the page's template, only for users who may view the page."""
        allowed = self.has_view_or_change_permission(request)
        return {"dcb_notices": notices(self.viewer(request)) if allowed else [], **(context or {})}

    def crumbs(self, request: HttpRequest, row: models.Model) -> list[tuple[str, str]]:
        """Return label and URL of the steps of the breadcrumbs to a row of any page: its list, and the row."""
        viewer, model = self.viewer(request), type(row)
        return [
            (str(capfirst(model._meta.verbose_name_plural)), viewer.list_url(model)),
            (str(row), viewer.row_url(model, row.pk)),
        ]

    def viewer(self, request: HttpRequest) -> Viewer:
        return Viewer(request, self.admin_site)

    def visible(self, request: HttpRequest, text: str) -> str:
        """Return the part that the user may see of a text, which the project's code may have raised."""
        return self.viewer(request).visible(text)

    def reduced(self, request: HttpRequest, row: Any) -> Any:
        """Return the row with its texts reduced to what the user may see, for all pages and columns."""
        for name in RAISED:
            if row is not None and name in vars(row):  # not deferred
                setattr(row, name, self.visible(request, vars(row)[name]))
        return row

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        return self.reduced(request, super().get_object(request, object_id, from_field))

    def buttons(self, request: HttpRequest, row: Any) -> list[Button]:
        """Return the buttons of the row's page that depend on its state."""
        return []

    def row_url(self, model: type[models.Model], pk: Any) -> str:
        """Return the URL of the row's page, whether or not the user may view it."""
        return page_url(self.admin_site, model, "change", pk)
