"""Notices about runs that need a person."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_claude_batches.admin.base.filters import ATTENTION
from django_claude_batches.admin.notices.notice import Notice, at_most, count_some, list_url
from django_claude_batches.models import JobRun
from django_claude_batches.models.run_attention import needing_attention


def run_counts() -> dict[str, Any]:
    """Return the number of active runs that need a person, as a column of another query: active runs are few."""
    return {"waiting_runs": count_some(needing_attention(JobRun.objects.primary().active()))}


def about_runs(request: HttpRequest, site: AdminSite, live: Any) -> Iterator[Notice]:
    """Yield a notice about runs that need a person: until then their jobs cannot be started again."""
    if not live.waiting_runs:
        return
    words = ngettext(
        "%(n)s run needs attention: its page says why.",
        "%(n)s runs need attention: their pages say why.",
        live.waiting_runs,
    )
    url = list_url(request, site, JobRun, **{ATTENTION: "yes"})
    yield Notice(words % {"n": at_most(live.waiting_runs)}, url, _("Show them"))
