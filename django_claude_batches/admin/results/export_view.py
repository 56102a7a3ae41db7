"""Export results from the admin: a page that asks for the format, and a download in constant memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from asgiref.sync import sync_to_async
from django.core.exceptions import PermissionDenied
from django.core.handlers.asgi import ASGIRequest
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.http import content_disposition_header
from django.utils.translation import gettext as _

from django_claude_batches.admin.base.permissions import APP
from django_claude_batches.admin.pages.read_only import MirrorAdminMixin
from django_claude_batches.admin.results.export_form import OF_REQUESTS, ExportForm, asked, initial
from django_claude_batches.export import cells
from django_claude_batches.models import BatchRequest, BatchResult, MessageBatch
from django_claude_batches.models.batch_state import REMOTE, RUNNING

NAME = f"{APP}_batchresult_export"


class ExportingAdminMixin(MirrorAdminMixin):
    """A page for the results of one batch, for users who may view results.

    Each export is logged in the batch's timeline.
    """

    def get_urls(self) -> Any:
        view = self.admin_site.admin_view(self.export_view)
        return [path("export/<int:batch_id>/", view, name=NAME), *super().get_urls()]

    def list_links(self, request: HttpRequest, batch: MessageBatch) -> list[tuple[str, str]]:
        """Add the export of what the list shows."""
        links = export_links(self, request, batch, asked(request.GET))
        return [*super().list_links(request, batch), *links]  # type: ignore[misc]

    def export_view(self, request: HttpRequest, batch_id: int) -> HttpResponseBase:
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        columns = list(cells.COLUMNS)
        if not self.viewer(request).may_view(BatchRequest):
            columns = [name for name in columns if name not in OF_REQUESTS]
            if OF_REQUESTS & set(request.POST.getlist("columns")):
                raise PermissionDenied
        batch = self.viewer(request).rows(MessageBatch).filter(pk=batch_id).first()
        if batch is None:
            raise Http404
        columns = [name for name in columns if name != cells.CELLS or batch.cells_header]
        form = ExportForm(
            request.POST or None, batch=batch, columns=columns, initial=initial(batch, asked(request.GET), columns)
        )
        return self._download(request, batch, form) if form.is_valid() else self._page(request, batch, form)

    def _page(self, request: HttpRequest, batch: MessageBatch, form: ExportForm) -> TemplateResponse:
        context = {
            "title": _("Export results of batch %(batch)s") % {"batch": batch},
            "form": form,
            "batch": batch,
            "dcb_crumbs": self.crumbs(request, batch),
            "back": self.viewer(request).rows_url(BatchResult, batch.pk, **asked(request.GET)),
        }
        return self.render_page(request, "export.html", context)

    def _download(self, request: HttpRequest, batch: MessageBatch, form: ExportForm) -> StreamingHttpResponse:
        export = form.export()
        with transaction.atomic(using=MessageBatch.objects.primary().db):
            batch.log_event("exported", form.describe(), by=request.user)
            self.log_change(request, batch, _("Exported: %(what)s") % {"what": form.describe()})
        chunks = _in_threads(iter(export)) if isinstance(request, ASGIRequest) else iter(export)
        response = StreamingHttpResponse(chunks, content_type=export.content_type)
        name = content_disposition_header(as_attachment=True, filename=form.file_name(export.suffix))
        response["Content-Disposition"] = name or ""
        return response


def export_links(
    page: MirrorAdminMixin, request: HttpRequest, batch: MessageBatch, narrowed: Mapping[str, str] | None = None
) -> list[tuple[str, str]]:
    """Return label and URL of the page that exports the batch's results; empty if there are none to export.

    `narrowed` are the filters that the page selects initially, as parameters of the list of results.
    """
    if batch.state not in REMOTE - RUNNING or not page.viewer(request).may_view(BatchResult):
        return []
    if not isinstance(page.admin_site.get_model_admin(BatchResult), ExportingAdminMixin):
        return []
    url = reverse(f"admin:{NAME}", args=[batch.pk], current_app=page.admin_site.name)
    return [(_("Export results"), f"{url}?{urlencode(narrowed)}" if narrowed else url)]


async def _in_threads(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the chunks to an ASGI server: otherwise Django would first read all of them into memory."""
    while chunk := await sync_to_async(lambda: next(chunks, b""))():
        yield chunk
