"""New batch: a file is uploaded, checked, reviewed by a person, and drafted when the person confirms it."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.admin.helpers import AdminForm
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.translation import gettext as _

from django_claude_batches import services, tasks
from django_claude_batches.admin.base.permissions import APP
from django_claude_batches.admin.pages.read_only import MirrorAdminMixin
from django_claude_batches.admin.uploads.detail import upload_page
from django_claude_batches.admin.uploads.forms import FIELDSETS, NewBatchForm
from django_claude_batches.exceptions import InvalidTransition
from django_claude_batches.models import BatchUpload, MessageBatch
from django_claude_batches.services.uploads.prepare import prepare

# Bytes and requests that are checked or drafted within the HTTP request. Larger files are left to a worker.
AT_ONCE = 1_000_000
AT_ONCE_REQUESTS = 1000

# A small file may have many rows with a long prompt: after this time a worker continues.
AT_ONCE_SECONDS = 2.0

# Files listed below the form.
MOST_WAITING = 20


class NewBatchAdminMixin(MirrorAdminMixin):
    """A page of batches that can make one. Users who make one see prompts, and need that permission."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perms([f"{APP}.add_messagebatch", f"{APP}.view_batchrequest"])

    def get_urls(self) -> Any:
        view = self.admin_site.admin_view(self.upload_view)
        return [path("uploads/<int:pk>/", view, name=f"{APP}_messagebatch_upload"), *super().get_urls()]

    def upload_url(self, upload: BatchUpload) -> str:
        return reverse(f"admin:{APP}_messagebatch_upload", args=[upload.pk], current_app=self.admin_site.name)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Show the form; store the file, and redirect to the page of its check."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        viewer = self.viewer(request)
        form = NewBatchForm(request.POST or None, request.FILES or None, aliases=viewer.aliases())
        if request.method == "POST" and form.is_valid():
            upload = form.store(by=request.user)
            self.log_addition(request, upload, _("Uploaded."))
            _go_on(upload)
            return HttpResponseRedirect(self.upload_url(upload))
        waiting = viewer.rows(BatchUpload).waiting().order_by("-pk")[:MOST_WAITING]
        context = {
            "title": _("New batch"),
            "adminform": AdminForm(form, FIELDSETS, {}, model_admin=self),
            "errors": form.errors,
            "waiting": [(upload, self.upload_url(upload)) for upload in waiting],
        }
        return self.render_page(request, "messagebatch/new_batch.html", {**context, **(extra_context or {})})

    def upload_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show a file's progress and what its check found; draft it or discard it."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        upload = self.reduced(request, self.viewer(request).rows(BatchUpload).filter(pk=pk).first())
        if upload is None:
            self.message_user(request, _("That file does not exist: it was discarded."), messages.WARNING)
            return HttpResponseRedirect(self._new_url())
        try:
            if "_draft" in request.POST:
                return self._draft(request, upload)
            if "_recheck" in request.POST:
                return self._recheck(upload)
            if "_discard" in request.POST:
                return self._discard(request, upload)
        except InvalidTransition as error:
            self.message_user(request, str(error), messages.ERROR)
            return HttpResponseRedirect(self.upload_url(upload))
        if upload.batch is not None and self.has_view_or_change_permission(request):
            return HttpResponseRedirect(self.row_url(MessageBatch, upload.batch.pk))
        return self.render_page(request, "messagebatch/upload.html", upload_page(upload))

    def _draft(self, request: HttpRequest, upload: BatchUpload) -> HttpResponse:
        services.confirm_upload(upload, by=request.user)
        self.log_change(request, upload, _("Confirmed."))
        _go_on(upload)
        if upload.batch is not None:
            text = _("Batch %(batch)s is a draft: nothing is sent until it is submitted.")
            self.message_user(request, text % {"batch": upload.batch}, messages.SUCCESS)
        return HttpResponseRedirect(self.upload_url(upload))

    def _recheck(self, upload: BatchUpload) -> HttpResponse:
        services.recheck_upload(upload)
        tasks.kick()
        return HttpResponseRedirect(self.upload_url(upload))

    def _discard(self, request: HttpRequest, upload: BatchUpload) -> HttpResponse:
        services.discard_upload(upload)
        self.log_change(request, upload, _("Discarded."))
        self.message_user(request, _("%(file)s is discarded.") % {"file": upload}, messages.SUCCESS)
        return HttpResponseRedirect(self._new_url())

    def _new_url(self) -> str:
        return reverse(f"admin:{APP}_messagebatch_add", current_app=self.admin_site.name)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        context["show_save_and_add_another"] = False  # a batch begins with a file
        return super().render_change_form(request, context, *args, **kwargs)


def _go_on(upload: BatchUpload) -> None:
    """Do what is due for a small file at once; leave any other to a worker."""
    is_small = max(upload.bytes, upload.body_bytes) <= AT_ONCE and upload.request_count <= AT_ONCE_REQUESTS
    if is_small:
        prepare(upload, seconds=AT_ONCE_SECONDS)
    if upload.is_moving:
        tasks.kick()
