"""The pages of requests: the list, usually of one batch, and a request with its params."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Exists, OuterRef, Subquery
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from django_claude_batches.admin.base import display
from django_claude_batches.admin.results.base import OfBatchAdminMixin, Text
from django_claude_batches.admin.results.filters import BatchFilter, RequestOutcomeFilter
from django_claude_batches.models import BatchRequest, BatchResult
from django_claude_batches.models.batch.outcomes import LABELS
from django_claude_batches.models.result import outcome_of


class BatchRequestAdminMixin(OfBatchAdminMixin):
    """Requests, linked from their batch. Users who may view them may read prompts."""

    empty_list_text = _("There are no requests yet. They are stored with their batches.")
    other_model = BatchResult
    other_pk = "result_pk"
    list_display = ("custom_id", "position", "batch_link", "model", "params_bytes", "target_name", "outcome")
    list_filter = (BatchFilter, RequestOutcomeFilter)
    linked_by = ("batch",)
    heavy_fields = ("params_text", "cells_text")
    order_in_batch = ("batch_id", "position")
    readonly_fields = ("target_name",)
    fields = (("custom_id", "position"), ("model", "params_bytes"), "target_name")

    @admin.display(description=_("target"))
    def target_name(self, row: BatchRequest) -> str:
        """Return the target's name without loading it."""
        return f"{row.content_type.name} {row.object_id}" if row.content_type else display.EMPTY

    @admin.display(description=_("outcome"))
    def outcome(self, row: Any) -> str:
        return _outcome(row) or display.EMPTY

    @admin.display(description=_("outcome"))
    def outcome_link(self, row: Any) -> str:
        if row.result_pk is None:
            return display.EMPTY
        return format_html('<a href="{}">{}</a>', self.row_url(BatchResult, row.result_pk), _outcome(row))

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Return False: the index does not list requests, which mean nothing without their batch."""
        return False

    def get_list_display(self, request: HttpRequest) -> Any:
        linked = self.viewer(request).may_view(BatchResult)
        return [f"{name}_link" if name == "outcome" and linked else name for name in super().get_list_display(request)]

    def get_queryset(self, request: HttpRequest) -> Any:
        rows = super().get_queryset(request).select_related("content_type")
        result = BatchResult.objects.using(rows.db).filter(request=OuterRef("pk")).order_by()
        # Subqueries run only for the rows that are shown; a join may be made for all rows first.
        return rows.annotate(
            outcome=Subquery(result.values("result_type")[:1]),
            stop_reason=Subquery(result.values("stop_reason")[:1]),
            is_invalid=Exists(result.invalid_output()),
            result_pk=Subquery(result.values("pk")[:1]),
        )

    def texts(self, row: BatchRequest) -> list[Text]:
        sent = display.pretty_text(row.params_text) if row.params_text else row.purge_note
        return [*_cells(row), Text("params", _("params, as they are sent"), sent)]


def _cells(row: BatchRequest) -> list[Text]:
    """Return the row of the uploaded file from which the request was made, if there is one."""
    names = row.batch.cells_header if row.cells else []
    lines = [f"{name}: {cell}" for name, cell in zip(names, row.cells, strict=False)]
    return [Text("cells", _("row of the uploaded file"), "\n".join(lines))] if lines else []


def _outcome(row: Any) -> str:
    """Return the label of the outcome of the request's result; empty without one."""
    outcome = outcome_of(row.outcome, row.stop_reason) if row.outcome else ""
    return str(LABELS["invalid_output"] if outcome == "succeeded" and row.is_invalid else LABELS.get(outcome, outcome))


@admin.register(BatchRequest)
class BatchRequestAdmin(BatchRequestAdminMixin, admin.ModelAdmin):  # type: ignore[type-arg]
    """Requests of one batch, and their params."""
