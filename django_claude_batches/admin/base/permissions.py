"""Who may do what: Django asks a ModelAdmin for `has_<name>_permission` of each action."""

from __future__ import annotations

from collections.abc import Callable
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


def _has(codename: str) -> Callable[[Any, HttpRequest], bool]:
    """Return a method of a ModelAdmin: whether the user has this permission."""

    def has_permission(self: Any, request: HttpRequest) -> bool:
        return request.user.has_perm(f"{APP}.{codename}")

    return has_permission


class MayActOnBatchesMixin:
    """For a ModelAdmin whose actions need the permissions of batches."""

    has_submit_permission = _has("submit_messagebatch")
    has_cancel_permission = _has("cancel_messagebatch")
    has_delete_remote_permission = _has("delete_remote_messagebatch")
    has_advance_permission = _has("advance_messagebatch")
    has_reingest_permission = _has("reingest_messagebatch")
    has_retry_permission = _has("retry_messagebatch")
    has_identify_permission = _has("identify_messagebatch")


class MayActOnRunsMixin:
    """For a ModelAdmin whose actions need the permissions of runs."""

    has_start_permission = _has("start_jobrun")
    has_pause_permission = _has("pause_jobrun")
    has_cancel_permission = _has("cancel_jobrun")
    has_retry_permission = _has("retry_jobrun")
    has_redeliver_permission = _has("redeliver_jobrun")
