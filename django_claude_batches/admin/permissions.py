"""Who may do what: Django asks a ModelAdmin for `has_<name>_permission` of each action."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

APP = "django_claude_batches"


class MayActOnBatchesMixin:
    """For a ModelAdmin whose verbs need the permissions of batches."""

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

    def has_claim_permission(self, request: HttpRequest) -> bool:
        return _may(request, "claim_messagebatch")


class MayActOnRunsMixin:
    """For a ModelAdmin whose verbs need the permissions of runs."""

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
