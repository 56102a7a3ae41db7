from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from django_claude_batches.admin import display
from django_claude_batches.admin.filters import BatchFilter, ResultOutcomeFilter
from django_claude_batches.admin.of_batch import OfBatchAdminMixin
from django_claude_batches.models import BatchRequest, BatchResult


class BatchResultAdminMixin(OfBatchAdminMixin):
    """Results. Those who may view them may read answers."""

    other_model = BatchRequest
    list_display = (
        "custom_id",
        "batch_link",
        "result_type",
        "stop_reason",
        "model",
        "input_tokens",
        "output_tokens",
        "error",
    )
    list_filter = (BatchFilter, ResultOutcomeFilter)
    heavy_fields = ("message", "output", "raw")
    order_in_batch = ("batch_id", "custom_id")
    fields = (
        ("custom_id", "result_type", "stop_reason"),
        ("model", "service_tier", "inference_geo"),
        ("input_tokens", "output_tokens", "cost_usd"),
        ("cache_write_5m_tokens", "cache_write_1h_tokens", "cache_read_tokens", "web_search_requests"),
        ("error_type", "error_request_id"),
        "error_message",
    )

    @admin.display(description=_("error"))
    def error(self, row: BatchResult) -> str:
        return display.cut(f"{row.error_type}: {row.error_message}" if row.error_type else row.error_message)

    def texts(self, row: BatchResult) -> list[tuple[Any, str]]:
        found: list[tuple[Any, str]] = [(_("text"), row.text)] if row.text else []
        if row.purge_note:
            found.append((_("message"), row.purge_note))
        if row.message is not None:
            found.append((_("message"), display.pretty(row.message)))
        if row.raw is not None:
            found.append((_("original line"), bytes(row.raw).decode(errors="replace")))
        return found

    def other_pk(self, row: BatchResult) -> int | None:
        return row.request_id


@admin.register(BatchResult)
class BatchResultAdmin(BatchResultAdminMixin, admin.ModelAdmin):  # type: ignore[type-arg]
    """Results of all batches, or of one."""
