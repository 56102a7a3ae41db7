"""The base of the pages of requests and results: rows of a batch, each linked to its counterpart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from django_claude_batches.admin.base import display
from django_claude_batches.admin.base.custom_id_search import with_custom_id
from django_claude_batches.admin.base.filters import batch_pk
from django_claude_batches.admin.pages.read_only import MirrorAdminMixin
from django_claude_batches.admin.results.filters import SearchAfter, SearchIn
from django_claude_batches.admin.results.row_list import RowList, Searched, remember_search
from django_claude_batches.models import BatchRequest, BatchResult, MessageBatch


@dataclass(frozen=True, slots=True)
class Text:
    """A long text of a row: `name` is part of the URL of the whole text."""

    name: str
    heading: Any
    text: str


class OfBatchAdminMixin(MirrorAdminMixin):
    """A page for rows of which each batch may have 100,000: an index must serve each query of a list."""

    # The model of the counterpart, and the attribute of a row with the counterpart's primary key.
    other_model: type[BatchRequest | BatchResult]
    other_pk: str

    account_path = "batch__account"
    order_in_batch: tuple[str, ...] = ()
    list_shows_times = False
    search_fields = ("custom_id",)
    search_help_text = _("A whole custom_id; in the list of one batch, its beginning is enough.")

    @admin.display(description=_("batch"))
    def batch_link(self, row: Any) -> str:
        return format_html('<a href="{}">#{}</a>', self.row_url(MessageBatch, row.batch_id), row.batch_id)

    def texts(self, row: Any) -> list[Text]:
        """Return the long texts of the row's page."""
        raise NotImplementedError

    def warning(self, row: Any) -> str:
        """Return a warning about the row, or an empty text."""
        return ""

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.whole_view)
        name = f"{self.opts.app_label}_{self.opts.model_name}_whole"
        return [path("<path:object_id>/whole/<slug:part>/", view, name=name), *super().get_urls()]

    def whole_view(self, request: HttpRequest, object_id: str, part: str) -> HttpResponse:
        """Return one text of a row's page in full, as plain text."""
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        row = self.get_object(request, object_id)
        found = [text.text for text in self.texts(row) if text.name == part] if row is not None else []
        if not found:
            raise Http404
        headers = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; sandbox"}
        return HttpResponse(
            found[0].encode(errors="replace"), content_type="text/plain; charset=utf-8", headers=headers
        )

    def _crumbs_to(self, request: HttpRequest, batch_id: int) -> list[tuple[str, str]]:
        """Return the steps of the breadcrumbs to a row: through its batch, and the list of that batch's rows."""
        viewer = self.viewer(request)
        return [
            (str(capfirst(MessageBatch._meta.verbose_name_plural)), viewer.list_url(MessageBatch)),
            (f"#{batch_id}", viewer.row_url(MessageBatch, batch_id)),
            (str(capfirst(self.opts.verbose_name_plural)), viewer.rows_url(self.model, batch_id)),
        ]

    def _whole_url(self, row: Any, text: Text) -> str:
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_whole"
        return reverse(name, args=[row.pk, text.name], current_app=self.admin_site.name)

    def get_list_display(self, request: HttpRequest) -> Any:
        """Omit the batch from the list of one batch, and its link for users who may not view batches."""
        may_view = self.viewer(request).may_view(MessageBatch)
        shown: dict[Any, Any] = {"batch_link": "batch_link" if may_view else "batch_id"}
        columns = [shown.get(name, name) for name in super().get_list_display(request)]
        return columns if batch_pk(request) is None else [name for name in columns if name not in shown.values()]

    def get_list_filter(self, request: HttpRequest) -> Any:
        """Add filters for the parameters of the search: Django refuses parameters that no filter reads."""
        return [*super().get_list_filter(request), SearchIn, SearchAfter]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[RowList]:
        return RowList

    def in_reading_order(self, request: HttpRequest, rows: Any) -> Any:
        """Return the rows in the order in which they are shown. They are counted in the order of `get_ordering`."""
        return rows

    def complete_rows(self, request: HttpRequest, rows: list[Any]) -> None:
        """Set the attributes that the columns show on the rows of one page."""

    def search_choices(self, request: HttpRequest) -> list[tuple[str, Any]]:
        """Return what can be searched: values of SEARCH_IN and their labels; empty if there is nothing to choose."""
        return []

    def narrowed_to(self, request: HttpRequest) -> str:
        """Return a text that says among which rows a filter selects; empty if it selects among all rows."""
        return ""

    def get_ordering(self, request: HttpRequest) -> Any:
        return ("-pk",) if batch_pk(request) is None else self.order_in_batch

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """Within one batch, search custom_ids by prefix: the index of both tables begins with the batch."""
        term = search_term.strip()
        if not term:
            return queryset, False
        if batch_pk(request) is not None:
            remember_search(request, Searched(_("Custom_ids that begin with “%(term)s”.") % {"term": term}))
            return queryset.filter(custom_id__startswith=term), False
        remember_search(request, Searched(_("Whole custom_ids: “%(term)s”, in all batches.") % {"term": term}))
        batches = self.viewer(request).rows(MessageBatch)
        return queryset.filter(pk__in=with_custom_id(self.model, term, batches)), False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        batch = self.listed_batch(request)
        if batch is None:
            batches = self.viewer(request).list_url(MessageBatch)
            return super().changelist_view(request, {"dcb_batches": batches, **(extra_context or {})})
        links = self.list_links(request, batch)
        crumbs = self.crumbs(request, batch)
        title = _("%(rows)s of batch %(batch)s") % {"rows": capfirst(self.opts.verbose_name_plural), "batch": batch}
        return super().changelist_view(
            request, {"title": title, "dcb_links": links, "dcb_crumbs": crumbs, **(extra_context or {})}
        )

    def listed_batch(self, request: HttpRequest) -> MessageBatch | None:
        """Return the batch whose rows are listed, if the list is of one that the user may see; one query a request."""
        pk = batch_pk(request)
        if pk is None or not self.has_view_or_change_permission(request):
            return None
        known: dict[int, MessageBatch | None] = vars(request).setdefault("_dcb_batches", {})
        if pk not in known:
            known[pk] = self.viewer(request).rows(MessageBatch).filter(pk=pk).first()
        return known[pk]

    def list_links(self, request: HttpRequest, batch: MessageBatch) -> list[tuple[str, str]]:
        """Return the links above the list of one batch's rows: label and URL."""
        return self._links(request, batch.pk, self.viewer(request).rows_url(self.other_model, batch.pk))

    def _links(self, request: HttpRequest, batch_id: int, other_url: str) -> list[tuple[str, str]]:
        """Return label and URL of the batch and of the counterpart, if the user may view them."""
        meta = self.other_model._meta
        is_list = "?" in other_url
        links = [
            (_("Batch #%(pk)s") % {"pk": batch_id}, self.viewer(request).row_url(MessageBatch, batch_id)),
            (str(capfirst(meta.verbose_name_plural if is_list else meta.verbose_name)), other_url),
        ]
        return [(label, url) for label, url in links if url]

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        row = kwargs.get("obj")
        if row is not None:
            other = getattr(row, self.other_pk)
            url = self.viewer(request).row_url(self.other_model, other) if other else ""
            context["dcb_links"] = self._links(request, row.batch_id, url)
            context["dcb_texts"] = [
                (text.heading, *display.shortened(text.text), self._whole_url(row, text)) for text in self.texts(row)
            ]
            context["dcb_warning"] = self.warning(row)
            context["dcb_crumbs"] = self._crumbs_to(request, row.batch_id)
        return super().render_change_form(request, context, *args, **kwargs)
