from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from django_claude_batches.admin.actions.admin import ActingAdminMixin
from django_claude_batches.admin.actions.runner import as_action
from django_claude_batches.admin.base import display
from django_claude_batches.admin.base.changelist import LeanChangeList
from django_claude_batches.admin.base.filters import label_or_number
from django_claude_batches.admin.batches.run_facts import with_run
from django_claude_batches.admin.pages.live import MovingAdminMixin
from django_claude_batches.admin.runs.actions import RUN_VERBS, next_step
from django_claude_batches.admin.runs.detail import run_page
from django_claude_batches.admin.runs.display import run_progress, run_state
from django_claude_batches.admin.runs.filters import JobFilter, RunAttentionFilter
from django_claude_batches.admin.runs.start_views import JobsAdminMixin
from django_claude_batches.models import JobRun, MessageBatch
from django_claude_batches.models.run_attention import NOT_ACCEPTED
from django_claude_batches.models.run_totals import RunTotals

# Columns of batches that a run's page does not read.
UNSHOWN = ("expected_usage", "betas")


class RunChangeList(LeanChangeList):
    """Add the totals of the runs on the page, and of no others."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        totals = RunTotals.of_each(self.result_list, with_usage=False) if self.result_list else {}
        for run in self.result_list:
            run.totals = totals[run.pk]


class JobRunAdminMixin(JobsAdminMixin, MovingAdminMixin, ActingAdminMixin):
    verbs = RUN_VERBS
    actions = [as_action(verb) for verb in RUN_VERBS]
    list_display = ("state_label", "name", "job", "progress", "cost", "age", "started_by")
    list_display_links = ("name",)
    list_filter = ("state", RunAttentionFilter, JobFilter)
    list_per_page = 50
    ordering = ("-pk",)
    search_fields = ("label",)
    search_help_text = _("Part of a label; or a whole job's name or number.")
    fields = (
        ("job", "label", "account"),
        ("started_at", "created_by_name"),
        ("drafted_at", "paused_at", "finished_at"),
    )

    @admin.display(description=_("run"), ordering="pk")
    def name(self, run: JobRun) -> str:
        return f'#{run.pk} "{run.label}"' if run.label else f"#{run.pk}"

    @admin.display(description=_("state"))
    def state_label(self, run: JobRun) -> str:
        return run_state(run)

    @admin.display(description=_("progress"))
    def progress(self, run: Any) -> str:
        return run_progress(run, run.totals)

    @admin.display(description=_("cost"))
    def cost(self, run: Any) -> str:
        is_known = run.totals.cost_usd is not None and run.totals.known_cost_usd
        return display.usd(run.totals.cost_usd) if is_known else display.EMPTY

    @admin.display(description=_("age"))
    def age(self, run: JobRun) -> str:
        return display.age(run.started_at)

    @admin.display(description=_("started by"))
    def started_by(self, run: JobRun) -> str:
        return run.created_by_name or display.EMPTY

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[LeanChangeList]:
        return RunChangeList

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        term = search_term.strip()
        return queryset.filter(label_or_number(term, "job")) if term else queryset, False

    def summarize(self, rows: list[JobRun]) -> str:
        runs = ngettext("%d run", "%d runs", len(rows)) % len(rows)
        drafted = sum(row.row_count for row in rows)
        requested = ngettext("%s row", "%s rows", drafted) % f"{drafted:,}"
        jobs = ", ".join(sorted({row.job for row in rows}))
        return str(_("%(runs)s of %(jobs)s, %(rows)s.")) % {"runs": runs, "jobs": jobs, "rows": requested}

    def fetch(self, request: HttpRequest, pk: int) -> Any:
        """Return the run with its batches: one query, or two before it has any."""
        allowed = self.get_queryset(request).filter(pk=pk).order_by()
        batches = MessageBatch.objects.primary().filter(run__in=allowed.values("pk")).select_related("run")
        own = list(with_run(batches).annotate(is_left=NOT_ACCEPTED).defer(*UNSHOWN).order_by("pk"))
        run: Any = own[0].run if own else allowed.first()
        if run is not None:
            run.own_batches = [self.reduced(request, batch) for batch in own]
            run.failed_delivery_count = sum(batch.failed_delivery_count for batch in own)
            run.has_failed_deliveries = run.failed_delivery_count > 0
            run.has_failed = any(batch.has_failed for batch in own)
            run.is_stuck = any(batch.is_stuck for batch in own)
        return run

    def next_step(self, row: JobRun) -> str:
        return next_step(row)

    def moves(self, row: JobRun) -> bool:
        return row.is_active and not row.is_paused

    def page_of(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        return run_page(self.viewer(request), row)


@admin.register(JobRun)
class JobRunAdmin(JobRunAdminMixin, admin.ModelAdmin):  # type: ignore[type-arg]
    """Runs of jobs: the page where people start, watch, pause and cancel them."""
