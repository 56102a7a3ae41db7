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
from django_claude_batches.admin.uploads.forms import FIELDSETS, FIELDSETS_OF_A_CHANGE, BatchFromFileForm, NewBatchForm
from django_claude_batches.exceptions import InvalidTransition
from django_claude_batches.models import BatchUpload, MessageBatch
from django_claude_batches.models.upload import CHANGEABLE
from django_claude_batches.services.uploads.prepare import prepare

# Bytes and requests that are checked or drafted within the HTTP request. Larger files are left to a worker.
AT_ONCE = 1_000_000
AT_ONCE_REQUESTS = 1000

# A small file may have many rows with a long prompt: after this time a worker continues.
AT_ONCE_SECONDS = 2.0

# Files listed below the form.
MOST_WAITING = 20


UPLOAD, CHANGE = f"{APP}_messagebatch_upload", f"{APP}_messagebatch_change_upload"


class NewBatchAdminMixin(MirrorAdminMixin):
    """The views of a new batch. They show prompts, so they also need the permission to view requests."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perms([f"{APP}.add_messagebatch", f"{APP}.view_batchrequest"])

    def get_urls(self) -> Any:
        views = (
            ("uploads/<int:pk>/", self.upload_view, UPLOAD),
            ("uploads/<int:pk>/change/", self.change_upload_view, CHANGE),
        )
        return [
            *(path(where, self.admin_site.admin_view(view), name=name) for where, view, name in views),
            *super().get_urls(),
        ]

    def upload_url(self, upload: BatchUpload, name: str = UPLOAD) -> str:
        return reverse(f"admin:{name}", args=[upload.pk], current_app=self.admin_site.name)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Show the form; store the file, and redirect to the page of its check.

        If another field is not valid, the file is stored anyway, so that the user need not choose it again.
        """
        if not self.has_add_permission(request):
            raise PermissionDenied
        viewer = self.viewer(request)
        aliases = viewer.aliases()
        form = NewBatchForm(request.POST or None, request.FILES or None, aliases=aliases)
        if request.method == "POST" and form.is_valid():
            upload = self._stored(request, form)
            _process(upload)
            return HttpResponseRedirect(self.upload_url(upload))
        if request.method == "POST" and "file" not in form.errors and aliases:
            return self._change_page(request, self._stored(request, form), form)
        waiting = viewer.rows(BatchUpload).waiting().order_by("-pk")[:MOST_WAITING]
        context = {
            "title": _("New batch"),
            "action": "",
            "adminform": AdminForm(form, FIELDSETS, {}, model_admin=self),
            "errors": form.errors,
            "waiting": [(upload, self.upload_url(upload)) for upload in waiting],
        }
        return self.render_page(request, "messagebatch/new_batch.html", {**context, **(extra_context or {})})

    def upload_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show a file's progress and what its check found; draft it or discard it."""
        upload = self._found(request, pk)
        if upload is None:
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
        context = {**upload_page(upload), "change_url": self.upload_url(upload, CHANGE)}
        return self.render_page(request, "messagebatch/upload.html", context)

    def change_upload_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Change the prompt and the settings of a file, and check it again."""
        upload = self._found(request, pk)
        if upload is None:
            return HttpResponseRedirect(self._new_url())
        form = BatchFromFileForm(request.POST or None, instance=upload, aliases=self.viewer(request).aliases())
        if upload.state not in CHANGEABLE:
            return HttpResponseRedirect(self.upload_url(upload))
        if request.method != "POST" or not form.is_valid():
            return self._change_page(request, upload, form)
        try:
            services.change_upload(upload, **form.columns())
        except InvalidTransition as error:
            self.message_user(request, str(error), messages.ERROR)
        else:
            self.log_change(request, upload, _("Changed, to be checked again."))
            _process(upload)
        return HttpResponseRedirect(self.upload_url(upload))

    def _found(self, request: HttpRequest, pk: int) -> BatchUpload | None:
        """Return the file with this key, or None after a message."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        upload: BatchUpload | None = self.reduced(request, self.viewer(request).rows(BatchUpload).filter(pk=pk).first())
        if upload is None:
            self.message_user(request, _("That file does not exist: it was discarded."), messages.WARNING)
        return upload

    def _stored(self, request: HttpRequest, form: NewBatchForm) -> BatchUpload:
        upload = form.store(by=request.user)
        self.log_addition(request, upload, _("Uploaded."))
        return upload

    def _change_page(self, request: HttpRequest, upload: BatchUpload, form: BatchFromFileForm) -> HttpResponse:
        context = {
            "title": _("Change the prompt: %(file)s") % {"file": upload},
            "upload": upload,
            "action": self.upload_url(upload, CHANGE),
            "back": self.upload_url(upload),
            "adminform": AdminForm(form, FIELDSETS_OF_A_CHANGE, {}, model_admin=self),
            "errors": form.errors,
        }
        return self.render_page(request, "messagebatch/new_batch.html", context)

    def _draft(self, request: HttpRequest, upload: BatchUpload) -> HttpResponse:
        services.confirm_upload(upload, by=request.user)
        self.log_change(request, upload, _("Confirmed."))
        _process(upload)
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


def _process(upload: BatchUpload) -> None:
    """Check or draft a small file at once; wake a worker for other files."""
    is_small = max(upload.bytes, upload.body_bytes) <= AT_ONCE and upload.request_count <= AT_ONCE_REQUESTS
    if is_small:
        prepare(upload, seconds=AT_ONCE_SECONDS)
    if upload.is_moving:
        tasks.kick()
