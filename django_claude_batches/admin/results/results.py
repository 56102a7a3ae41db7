from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _

from django_claude_batches.admin.base import display
from django_claude_batches.admin.base.filters import batch_pk
from django_claude_batches.admin.results.base import OfBatchAdminMixin, Text
from django_claude_batches.admin.results.export_view import ExportingAdminMixin
from django_claude_batches.admin.results.filters import BatchFilter, ErrorTypeFilter, ResultOutcomeFilter, TierFilter
from django_claude_batches.models import BatchRequest, BatchResult, ResultType

FAILED = frozenset({ResultType.ERRORED, ResultType.CANCELED, ResultType.EXPIRED})
ORDER_BY_KIND = ("batch_id", "result_type", "error_type", "custom_id")

INVALID_OUTPUT = "invalid_output"
UNFINISHED = "unfinished"

NOT_FINISHED = _("The answer is not known to be finished. Its stop reason: %(reason)s.")
OFF_TIER = _("Not billed at the batch rate: Anthropic answered it in another service tier.")


class BatchResultAdminMixin(ExportingAdminMixin, OfBatchAdminMixin):
    """Results. Users who may view them may read answers."""

    empty_list_text = _("There are no results yet. They are stored when a batch that was submitted has ended.")
    other_model = BatchRequest
    other_pk = "request_id"
    list_display = (
        "custom_id",
        "batch_link",
        "outcome",
        "stop_reason",
        "model",
        "input_tokens",
        "output_tokens",
        "error",
    )
    list_filter = (BatchFilter, ResultOutcomeFilter, ErrorTypeFilter, TierFilter)
    linked_by = ("batch", "error_type")
    readonly_fields = ("cost", "outcome")
    heavy_fields = ("message", "output", "raw")
    order_in_batch = ("batch_id", "custom_id")
    fields = (
        ("custom_id", "outcome", "stop_reason"),
        ("model", "service_tier", "inference_geo"),
        ("input_tokens", "output_tokens", "cost"),
        ("cache_write_5m_tokens", "cache_write_1h_tokens", "cache_read_tokens", "web_search_requests"),
        ("error_type", "error_request_id"),
        "error_message",
    )

    @admin.display(description=_("error"))
    def error(self, row: BatchResult) -> str:
        return display.cut(f"{row.error_type}: {row.error_message}" if row.error_type else row.error_message)

    @admin.display(description=_("outcome"))
    def outcome(self, row: BatchResult) -> str:
        """Return the outcome, marked if it is incomplete, does not fit its schema, or is not at the batch rate."""
        flags: list[tuple[Any, str]] = []
        if row.outcome == INVALID_OUTPUT:
            flags.append((Truncator(row.output_error or "").chars(200), INVALID_OUTPUT))
        if row.outcome == UNFINISHED:
            flags.append((NOT_FINISHED % {"reason": row.stop_reason or "-"}, UNFINISHED))
        if row.is_off_tier:
            flags.append((OFF_TIER, row.service_tier))
        marks = format_html_join("", ' <span class="dcb-flag" title="{}">{}</span>', flags)
        return format_html("{}{}", row.result_type, marks)

    @admin.display(description=_("cost"))
    def cost(self, row: BatchResult) -> str:
        return display.usd(row.cost_usd, row.batch.prices_as_of)

    def get_ordering(self, request: HttpRequest) -> Any:
        """Order failures by kind: the index of failures has this order."""
        is_failed = request.GET.get("outcome") in FAILED or ErrorTypeFilter.parameter_name in request.GET
        in_batch = batch_pk(request) is not None
        return ORDER_BY_KIND if in_batch and is_failed else super().get_ordering(request)

    def texts(self, row: BatchResult) -> list[Text]:
        found = [Text("text", _("text"), row.text)] if row.text else []
        if row.output is not None:
            found.append(Text("output", _("output"), display.pretty(row.output)))
        if row.purge_note:
            found.append(Text("message", _("message"), row.purge_note))
        if row.message is not None:
            found.append(Text("message", _("message"), display.pretty(row.message)))
        if row.raw is not None:
            found.append(Text("raw", _("original line"), bytes(row.raw).decode(errors="replace")))
        return found

    def warning(self, row: BatchResult) -> str:
        said = []
        if row.outcome == INVALID_OUTPUT:
            said.append(_("The answer does not fit its job's schema: %(error)s") % {"error": row.output_error})
        if row.outcome == UNFINISHED:
            said.append(NOT_FINISHED % {"reason": row.stop_reason or "-"})
        if row.is_off_tier:
            said.append(f"{OFF_TIER} (service_tier: {row.service_tier})")
        return " ".join(said)


@admin.register(BatchResult)
class BatchResultAdmin(BatchResultAdminMixin, admin.ModelAdmin):  # type: ignore[type-arg]
    """Results of all batches, or of one."""
