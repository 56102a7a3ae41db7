"""What the pages of requests and of results share: both belong to a batch, and each has its counterpart."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from django_claude_batches.admin import display
from django_claude_batches.admin.filters import batch_pk
from django_claude_batches.admin.mirror import MirrorAdminMixin
from django_claude_batches.models import BatchRequest, BatchResult, MessageBatch


class OfBatchAdminMixin(MirrorAdminMixin):
    """Rows by the hundred thousand for each batch: what a list asks for is what an index answers."""

    other_model: type[BatchRequest | BatchResult]
    order_in_batch: tuple[str, ...] = ()
    search_fields = ("custom_id",)
    search_help_text = _("A whole custom_id; in the list of one batch, its beginning is enough.")

    @admin.display(description=_("batch"))
    def batch_link(self, row: Any) -> str:
        return format_html('<a href="{}">#{}</a>', self.row_url(MessageBatch, row.batch_id), row.batch_id)

    def texts(self, row: Any) -> list[tuple[Any, str]]:
        """Give what the row's page shows at length, with its headings."""
        raise NotImplementedError

    def other_pk(self, row: Any) -> int | None:
        """Give the primary key of the counterpart, if there is one."""
        raise NotImplementedError

    def get_list_display(self, request: HttpRequest) -> Any:
        """Without the batch where all rows are of one, and without its link for those who may not see it."""
        shown: dict[Any, Any] = {"batch_link": "batch_link" if self.may_view(request, MessageBatch) else "batch_id"}
        columns = [shown.get(name, name) for name in super().get_list_display(request)]
        return columns if batch_pk(request) is None else [name for name in columns if name not in shown.values()]

    def get_ordering(self, request: HttpRequest) -> Any:
        return ("-pk",) if batch_pk(request) is None else self.order_in_batch

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """The index of both tables begins with the batch: without one, it is asked once for each."""
        term = search_term.strip()
        if not term:
            return queryset, False
        if batch_pk(request) is not None:
            return queryset.filter(custom_id__startswith=term), False
        batches = MessageBatch.objects.using(queryset.db).order_by().values("pk")
        return queryset.filter(Q(custom_id=term), batch__in=batches), False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        batch = self._batch(request)
        if batch is None:
            return super().changelist_view(request, extra_context)
        links = self._links(request, batch.pk, self.rows_url(request, self.other_model, batch.pk))
        title = _("%(rows)s of batch %(batch)s") % {"rows": capfirst(self.opts.verbose_name_plural), "batch": batch}
        return super().changelist_view(request, {"title": title, "dcb_links": links, **(extra_context or {})})

    def _batch(self, request: HttpRequest) -> MessageBatch | None:
        pk = batch_pk(request)
        if pk is None or not self.has_view_or_change_permission(request):
            return None
        return MessageBatch.objects.primary().filter(pk=pk).first()

    def _links(self, request: HttpRequest, batch_id: int, other_url: str) -> list[tuple[str, str]]:
        """Give label and address of the batch and of the counterpart, as far as the user may see them."""
        links = []
        if self.may_view(request, MessageBatch):
            links.append((_("Batch #%(pk)s") % {"pk": batch_id}, self.row_url(MessageBatch, batch_id)))
        if other_url:
            meta = self.other_model._meta
            is_list = "?" in other_url
            links.append((str(capfirst(meta.verbose_name_plural if is_list else meta.verbose_name)), other_url))
        return links

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        row = kwargs.get("obj")
        if row is not None:
            other = self.other_pk(row)
            url = self.row_url(self.other_model, other) if other and self.may_view(request, self.other_model) else ""
            context["dcb_links"] = self._links(request, row.batch_id, url)
            context["dcb_texts"] = [(heading, *display.shortened(text)) for heading, text in self.texts(row)]
        return super().render_change_form(request, context, *args, **kwargs)
