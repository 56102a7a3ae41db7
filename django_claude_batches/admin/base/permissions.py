"""Who may do what: Django asks a ModelAdmin for `has_<name>_permission` of each action."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import AdminSite
from django.db import models
from django.http import HttpRequest

from django_claude_batches.error_text import public_part
from django_claude_batches.models import BatchRequest, BatchResult

APP = "django_claude_batches"


def may_view(request: HttpRequest, site: AdminSite, model: type[models.Model]) -> bool:
    """Whether the user may see rows of this model on this site."""
    return site.is_registered(model) and site.get_model_admin(model).has_view_or_change_permission(request)


def may_read_raised(request: HttpRequest, site: AdminSite) -> bool:
    """Whether the user may read errors raised by the project's code, which may quote a prompt or an answer."""
    return may_view(request, site, BatchResult) and may_view(request, site, BatchRequest)


def visible(request: HttpRequest, site: AdminSite, text: str) -> str:
    """Return what the user may see of a stored text or a message. All pages must show such texts with this function."""
    return text if may_read_raised(request, site) else public_part(text)


class MayActOnBatchesMixin:
    """For a ModelAdmin whose actions need the permissions of batches."""

    def has_submit_permission(self, request: HttpRequest) -> bool:
        return _may(request, "submit_messagebatch")

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return _may(request, "cancel_messagebatch")

    def has_delete_remote_permission(self, request: HttpRequest) -> bool:
        return _may(request, "delete_remote_messagebatch")

    def has_advance_permission(self, request: HttpRequest) -> bool:
        return _may(request, "advance_messagebatch")

    def has_reingest_permission(self, request: HttpRequest) -> bool:
        return _may(request, "reingest_messagebatch")

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return _may(request, "retry_messagebatch")

    def has_identify_permission(self, request: HttpRequest) -> bool:
        return _may(request, "identify_messagebatch")


class MayActOnRunsMixin:
    """For a ModelAdmin whose actions need the permissions of runs."""

    def has_start_permission(self, request: HttpRequest) -> bool:
        return _may(request, "start_jobrun")

    def has_pause_permission(self, request: HttpRequest) -> bool:
        return _may(request, "pause_jobrun")

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return _may(request, "cancel_jobrun")

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return _may(request, "retry_jobrun")

    def has_redeliver_permission(self, request: HttpRequest) -> bool:
        return _may(request, "redeliver_jobrun")


def _may(request: HttpRequest, codename: str) -> bool:
    user: Any = request.user
    return bool(user.has_perm(f"{APP}.{codename}"))
