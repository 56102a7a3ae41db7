"""The pages of results: the list, of one batch or of all, and a result beside its question."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin.views.main import SEARCH_VAR
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _

from django_claude_batches.admin.base import display
from django_claude_batches.admin.base.filters import RUN, batch_pk, read_pk
from django_claude_batches.admin.results.base import OfBatchAdminMixin, Text
from django_claude_batches.admin.results.excerpts import excerpt, with_excerpts
from django_claude_batches.admin.results.export_view import ExportingAdminMixin
from django_claude_batches.admin.results.filters import (
    BatchFilter,
    ErrorTypeFilter,
    ResultOutcomeFilter,
    RunFilter,
    TierFilter,
)
from django_claude_batches.admin.results.newest_batches import NewestBatches
from django_claude_batches.admin.results.reading_order import ReadingOrder
from django_claude_batches.admin.results.reading_page import FILTERS, answer, neighbors, question, read_request
from django_claude_batches.admin.results.row_list import ANSWERS, SEARCH_AFTER, SEARCH_IN, Searched, remember_search
from django_claude_batches.admin.results.target_links import TargetLinks
from django_claude_batches.admin.results.word_search import MAX_ROWS, MAX_SECONDS, search_batch, words_of
from django_claude_batches.models import BatchRequest, BatchResult, MessageBatch, ResultType
from django_claude_batches.models.batch.outcomes import LABELS

FAILED = frozenset({ResultType.ERRORED, ResultType.CANCELED, ResultType.EXPIRED})
ORDER_BY_KIND = ("batch_id", "result_type", "error_type", "custom_id")

ORDER_BY_BATCH = ("-batch_id", "-custom_id")

# Parameters of the filters.
FILTERED_BY = frozenset(each.parameter_name for each in (RunFilter, ResultOutcomeFilter, ErrorTypeFilter, TierFilter))

# The attribute of the HTTP request that caches the newest batches.
NEWEST = "_dcb_newest"

# Why an answer that the API counts as succeeded cannot be used, by its outcome.
UNUSABLE = {
    "truncated": _("The answer was cut off at max_tokens."),
    "refused": _("The model refused to answer."),
    "unfinished": _("The answer is not known to be finished. Its stop reason: %(reason)s."),
    "invalid_output": _("The answer does not fit its job's schema: %(error)s"),
}
# Characters of the error of an output.
MAX_ERROR = 1_000

OFF_TIER = _("Not billed at the batch rate: Anthropic answered it in another service tier.")


class BatchResultAdminMixin(ExportingAdminMixin, OfBatchAdminMixin):
    """Results. Users who may view them may read answers."""

    empty_list_text = _("There are no results yet. They are stored when a batch that was submitted has ended.")
    other_model = BatchRequest
    other_pk = "request_id"
    list_display = ("custom_id", "answer", "target_link", "batch_link", "outcome", "cost", "tokens")
    search_help_text = _("A whole custom_id; in the list of one batch, its beginning, or words of the answers.")
    # Limits of one search for words in a batch.
    max_searched_rows = MAX_ROWS
    max_searched_seconds = MAX_SECONDS
    optional_columns = ("target_link",)
    list_filter = (BatchFilter, RunFilter, ResultOutcomeFilter, ErrorTypeFilter, TierFilter)
    linked_by = ("batch", "run", "error_type")
    readonly_fields = ("cost", "outcome")
    heavy_fields = ("message", "output", "raw")
    order_in_batch = ("batch_id", "custom_id")
    change_form_template = "admin/django_claude_batches/batchresult/change_form.html"
    fieldsets = (
        (None, {"fields": (("custom_id", "outcome", "cost"),)}),
        (
            _("Details"),
            {
                "classes": ["collapse"],
                "fields": (
                    ("stop_reason", "model"),
                    ("service_tier", "inference_geo"),
                    ("input_tokens", "output_tokens"),
                    ("cache_write_5m_tokens", "cache_write_1h_tokens", "cache_read_tokens", "web_search_requests"),
                    ("error_type", "error_request_id"),
                    "error_message",
                ),
            },
        ),
    )

    @admin.display(description=_("answer"))
    def answer(self, row: Any) -> str:
        """Return the beginning of the answer, its error, or why there is none."""
        return excerpt(_completed(row)) or display.EMPTY

    @admin.display(description=_("target"))
    def target_link(self, row: Any) -> str:
        return getattr(row, "target_link", display.EMPTY)

    @admin.display(description=_("tokens"))
    def tokens(self, row: BatchResult) -> str:
        """Return the tokens in and out; tokens read from and written to the cache count as in."""
        if row.input_tokens is None and row.output_tokens is None:
            return display.EMPTY
        cached = row.cache_read_tokens or 0
        sent = (row.input_tokens or 0) + cached + (row.cache_write_5m_tokens or 0) + (row.cache_write_1h_tokens or 0)
        hint = _("%(cached)s of these were read from the cache.") % {"cached": f"{cached:,}"} if cached else ""
        words = {"sent": f"{sent:,}", "answered": f"{row.output_tokens or 0:,}"}
        parts = [(hint, _("%(sent)s in") % words), ("", _("%(answered)s out") % words)]
        return format_html_join(" ", '<span class="dcb-part" title="{}">{}</span>', parts)

    @admin.display(description=_("outcome"))
    def outcome(self, row: BatchResult) -> str:
        """Return the outcome, marked if the answer cannot be used, or was not billed at the batch rate."""
        flags: list[tuple[Any, Any]] = []
        if row.outcome in UNUSABLE:
            flags.append((_why_unusable(row), LABELS[row.outcome]))
        if row.is_off_tier:
            flags.append((OFF_TIER, row.service_tier))
        marks = format_html_join(" ", '<span class="dcb-flag" title="{}">{}</span>', flags)
        return marks if row.outcome in UNUSABLE else format_html("{} {}", LABELS.get(row.outcome, row.outcome), marks)

    @admin.display(description=_("cost"))
    def cost(self, row: BatchResult) -> str:
        batch = (getattr(row, "completed", None) or row).batch
        return display.usd(row.cost_usd, batch.prices_as_of)

    def get_list_display(self, request: HttpRequest) -> Any:
        """Omit the target for users who may not view requests: it is part of a request."""
        columns = super().get_list_display(request)
        may_view = self.viewer(request).may_view(BatchRequest)
        return columns if may_view else [name for name in columns if name != "target_link"]

    def search_choices(self, request: HttpRequest) -> list[tuple[str, Any]]:
        if self.listed_batch(request) is None:
            return []
        return [("", _("custom_ids")), (ANSWERS, _("words of the answers"))]

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """Search the words of one batch's answers where the form asks for it."""
        batch, words = self.listed_batch(request), words_of(search_term)
        if batch is None or not words or request.GET.get(SEARCH_IN) != ANSWERS:
            return super().get_search_results(request, queryset, search_term)
        found = search_batch(
            queryset,
            batch,
            words,
            after=request.GET.get(SEARCH_AFTER, ""),
            max_rows=self.max_searched_rows,
            max_seconds=self.max_searched_seconds,
        )
        remember_search(request, Searched(found.describe(search_term.strip()), found.last))
        return queryset.filter(pk__in=found.pks), False

    def in_reading_order(self, request: HttpRequest, rows: Any) -> Any:
        """Order one batch's results as its requests, except filtered failures and matches of a custom_id."""
        batch = self.listed_batch(request)
        is_ordered = _is_by_kind(request) or (request.GET.get(SEARCH_VAR) and request.GET.get(SEARCH_IN) != ANSWERS)
        return rows if batch is None or is_ordered else ReadingOrder(batch).ordered(rows)

    def narrowed_to(self, request: HttpRequest) -> str:
        """Return a text that says so if a filter of all results selects only among the newest batches."""
        if batch_pk(request) is not None or not FILTERED_BY & request.GET.keys():
            return ""
        newest = self.newest_batches(request)
        words = _("Filtered: the results of the newest %(n)s batches.")
        return "" if newest.are_all else str(words % {"n": f"{newest.looked_at:,}"})

    def complete_rows(self, request: HttpRequest, rows: list[Any]) -> None:
        """Add the excerpts and the targets."""
        if not rows:
            return
        using = rows[0]._state.db
        completed = with_excerpts(BatchResult.objects.using(using), [row.pk for row in rows])
        links = TargetLinks(self.viewer(request), using)
        for row in rows:
            row.completed = completed.get(row.pk)
            row.target_link = links.link(row.completed and row.completed.request)

    def newest_batches(self, request: HttpRequest) -> NewestBatches:
        """Return the newest batches, of one run or of all, among which filters select; cached on the HTTP request."""
        known: dict[str, NewestBatches] = vars(request)
        if NEWEST not in known:
            batches = self.viewer(request).rows(MessageBatch)
            if RUN in request.GET:
                batches = batches.filter(run=read_pk(request.GET[RUN]) or 0)
            known[NEWEST] = NewestBatches(batches)
        return known[NEWEST]

    def get_ordering(self, request: HttpRequest) -> Any:
        """Order failures of a batch by kind: the index of failures has this order.

        In the list of all results, filtered rows are ordered by batch: in the order of all results, the database would
        read the table until it has found enough of them.
        """
        if batch_pk(request) is None:
            return ORDER_BY_BATCH if FILTERED_BY & request.GET.keys() else super().get_ordering(request)
        return ORDER_BY_KIND if _is_by_kind(request) else super().get_ordering(request)

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

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        row = kwargs.get("obj")
        if row is not None:
            read_request(row)
            context["dcb_question"] = question(row) if self.viewer(request).may_view(BatchRequest) else []
            context["dcb_answer"] = answer(row)
            context["dcb_whole_answer"] = self._whole_url(row, self.texts(row)[0]) if row.text else ""
            near = neighbors(request, row, self.get_queryset(request))
            kept = {FILTERS: request.GET[FILTERS]} if FILTERS in request.GET else {}
            query = f"?{urlencode(kept)}" if kept else ""
            context["dcb_near"] = [
                (label, f"{self.row_url(BatchResult, each.pk)}{query}", each.custom_id) for label, each in near
            ]
        return super().render_change_form(request, context, *args, **kwargs)

    def warning(self, row: BatchResult) -> str:
        said = [_why_unusable(row)] if row.outcome in UNUSABLE else []
        if row.is_off_tier:
            said.append(f"{OFF_TIER} (service_tier: {row.service_tier})")
        return " ".join(said)


def _is_by_kind(request: HttpRequest) -> bool:
    return request.GET.get("outcome") in FAILED or ErrorTypeFilter.parameter_name in request.GET


def _why_unusable(row: BatchResult) -> str:
    error = Truncator(row.output_error or "").chars(MAX_ERROR)
    return str(UNUSABLE[row.outcome] % {"reason": row.stop_reason or "-", "error": error})


def _completed(row: Any) -> Any:
    """Return the row with what `excerpt` needs, reading it for rows of a project's own queryset."""
    found = getattr(row, "completed", None)
    return found or with_excerpts(BatchResult.objects.using(row._state.db), [row.pk])[row.pk]


@admin.register(BatchResult)
class BatchResultAdmin(BatchResultAdminMixin, admin.ModelAdmin):  # type: ignore[type-arg]
    """Results of all batches, or of one."""
