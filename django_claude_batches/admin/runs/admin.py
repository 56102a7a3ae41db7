"""The pages of runs: the list, with the totals of each run, and a run with its actions."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html
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
from django_claude_batches.models.run_attention import NOT_ACCEPTED, brief, with_reason
from django_claude_batches.models.run_totals import RunTotals

# Characters of a column that says why a run needs attention.
MAX_ATTENTION = 80

# Columns of batches that a run's page does not read.
UNSHOWN = ("expected_usage", "betas")


class RunChangeList(LeanChangeList):
    """Add the totals of the runs on the page, and of no others."""

    def annotated(self, rows: Any) -> Any:
        return with_reason(rows)

    def complete(self, request: HttpRequest, rows: list[Any]) -> None:
        totals = RunTotals.of_each(rows, with_usage=False) if rows else {}
        page: Any = self.model_admin
        aliases = {*page.viewer(request).aliases(), *(run.account for run in rows)}
        for run in rows:
            run.totals = totals[run.pk]
            run.shown_account = run.account if len(aliases) > 1 else ""
            run.attention_text = brief(run, run.totals.failed_deliveries)


class JobRunAdminMixin(JobsAdminMixin, MovingAdminMixin, ActingAdminMixin):
    """Runs of jobs, with all actions. The permission to view them shows no prompts and no answers."""

    verbs = RUN_VERBS
    actions = [as_action(verb) for verb in RUN_VERBS]
    empty_list_text = _("There are no runs yet. Each start of a job makes one.")
    list_display = ("state_label", "name", "progress", "cost", "age", "attention")
    list_display_links = ("name",)
    optional_columns = ("cost", "attention")
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
    def name(self, run: Any) -> str:
        """Return number and label, with the job and the account below."""
        first = f'#{run.pk} "{run.label}"' if run.label else f"#{run.pk}"
        return display.two_lines(first, ", ".join(filter(None, (run.job, getattr(run, "shown_account", "")))))

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
        """Return the age, with who started it below."""
        return display.two_lines(display.age(run.started_at), run.created_by_name)

    @admin.display(description=_("attention"))
    def attention(self, run: Any) -> str:
        text = display.cut(display.told(getattr(run, "attention_text", ""))[0], MAX_ATTENTION)
        return text if text == display.EMPTY else format_html('<span class="dcb-attention">{}</span>', text)

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
            run.failed_row_count = sum(batch.failed_row_count for batch in own)
            run.has_failed = run.failed_row_count > 0
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
