"""The package's admin, and a plain ModelAdmin for comparison."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from django_claude_batches.models import BatchResult, MessageBatch

plain = admin.AdminSite(name="plain")
plain.register(MessageBatch)


@admin.register(BatchResult, site=plain)
class PlainResultAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """A plain ModelAdmin with columns of the table, and Django's own filters and search."""

    list_display = (
        "custom_id",
        "batch",
        "result_type",
        "stop_reason",
        "model",
        "input_tokens",
        "output_tokens",
        "error_type",
    )
    list_filter = ("result_type", "model")
    search_fields = ("custom_id",)


urlpatterns = [path("admin/", admin.site.urls), path("plain/", plain.urls)]
