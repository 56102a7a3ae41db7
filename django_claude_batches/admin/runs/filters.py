"""Filters of the list of runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from django_claude_batches.admin.base.filters import AttentionFilter, ColumnFilter
from django_claude_batches.admin.runs.job_list import visible_jobs
from django_claude_batches.models.run_attention import needing_attention


class JobFilter(ColumnFilter):
    """The jobs that are registered in this process. Runs of a removed job are found by a search for its name."""

    title = _("job")
    parameter_name = "job"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return [(name, name) for name in visible_jobs(model_admin.viewer(request))]


class RunAttentionFilter(AttentionFilter):
    """Runs that need attention."""

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return needing_attention(queryset) if self.value() == "yes" else queryset
