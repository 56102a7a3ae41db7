"""The usage page: a form, this month and the last, a chart, a table, and its export as CSV."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from django_claude_batches.admin.base.permissions import APP, page_url
from django_claude_batches.admin.pages.read_only import MirrorAdminMixin
from django_claude_batches.admin.usage import page
from django_claude_batches.admin.usage.chart import chart
from django_claude_batches.admin.usage.form import UsageForm
from django_claude_batches.exceptions import LimitExceeded
from django_claude_batches.models import UsageRollup
from django_claude_batches.models.usage_totals import MAX_PERIODS, UsageReport, UsageRow

EXPORT = f"{APP}_usagerollup_export"


class UsageRollupAdminMixin(MirrorAdminMixin):
    """A page that sums up the rows of `get_queryset`. The rows have no pages of their own."""

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view
        return [
            path("", view(self.changelist_view), name=f"{APP}_usagerollup_changelist"),
            path("export/", view(self.export_view), name=EXPORT),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the sums. At most four queries, for any number of batches and results."""
        form, report = self._asked(request)
        rows = None if report is None else _rows(form, report)
        shown = {} if report is None or rows is None else self._shown(request, form, report, rows)
        context = {
            **self.admin_site.each_context(request),
            "title": _("Usage"),
            "opts": self.opts,
            "media": self.media,
            "form": form,
            "time_zone": timezone.get_current_timezone_name(),
            **shown,
            **(extra_context or {}),
        }
        request.current_app = self.admin_site.name
        template = self.change_list_template or f"admin/{APP}/usagerollup/change_list.html"
        return TemplateResponse(request, template, context)

    def export_view(self, request: HttpRequest) -> HttpResponse:
        """Return the rows as CSV. If the form has errors, redirect to the page, which shows the errors."""
        form, report = self._asked(request)
        rows = None if report is None else _rows(form, report)
        if rows is None:
            return HttpResponseRedirect(
                f"{page_url(self.admin_site, UsageRollup, 'changelist')}?{request.GET.urlencode()}"
            )
        response = HttpResponse(page.csv_file(form.names, rows), content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = f'attachment; filename="usage-{timezone.localdate()}.csv"'
        return response

    def _asked(self, request: HttpRequest) -> tuple[UsageForm, UsageReport | None]:
        """Return the form and its report, which is None if the form has errors."""
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        form = UsageForm.of(request.GET)
        report = form.report(self.get_queryset(request)) if form.is_valid() else None
        form.offer(report.choices() if report is not None else UsageReport(UsageRollup.objects.none()).choices())
        return form, report

    def _shown(
        self, request: HttpRequest, form: UsageForm, report: UsageReport, rows: list[UsageRow]
    ) -> dict[str, Any]:
        def link(**changes: str) -> str:
            return f"?{_changed(form, changes)}"

        export = reverse(f"admin:{EXPORT}", current_app=self.admin_site.name)
        return {
            "months": page.months(*report.months(form.names, rows)),
            "table": page.table(form.names, rows, link),
            "chart": chart(report, form.names, rows, link),
            "export_url": f"{export}?{_changed(form, {})}",
        }


def _rows(form: UsageForm, report: UsageReport) -> list[UsageRow] | None:
    """Return the rows of the report. If there are too many periods, add an error to the form and return None."""
    try:
        return report.by(*form.names)
    except LimitExceeded:
        form.add_error(
            None, _("More than %(n)s periods: choose a shorter time or longer periods.") % {"n": MAX_PERIODS}
        )
        return None


def _changed(form: UsageForm, changes: dict[str, str]) -> str:
    """Return the form as a query string with these changes.

    Empty values are left out, except an empty first day: without the parameter, the page starts at last month.
    """
    query = form.data.copy()  # type: ignore[attr-defined]
    for name, value in changes.items():
        query[name] = value
    for name in [name for name in query if name not in form.fields or (name != "since" and not query[name])]:
        del query[name]
    return str(query.urlencode())


@admin.register(UsageRollup)
class UsageRollupAdmin(UsageRollupAdminMixin, admin.ModelAdmin):  # type: ignore[type-arg]
    """Usage: costs and tokens by time, model, job, account and person."""
