"""Notices about batches and runs: those that need a person, and those near a deadline."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from django.db.models import IntegerField, Model, Subquery
from django.utils.translation import gettext as _
from django.utils.translation import ngettext_lazy

from django_claude_batches.admin.base.filters import ATTENTION, NEARING
from django_claude_batches.admin.base.permissions import Viewer
from django_claude_batches.admin.notices.notice import Notice
from django_claude_batches.models import JobRun, MessageBatch, State
from django_claude_batches.models.batch_state import FETCHING, RUNNING
from django_claude_batches.models.run_attention import needing_attention

# A notice counts at most this many rows, and says "More than" beyond that.
MOST_COUNTED = 100


@dataclass(frozen=True, slots=True)
class RowNotice:
    """A notice about some rows of a model; `parameters` are those of the list that has them."""

    model: type[Model]
    parameters: dict[str, str]
    rows: Callable[[], Any]
    words: Any


# By the name of the column of `row_counts` with the number of rows. The rows are few, and an index serves each count.
ROW_NOTICES = {
    "unconfirmed": RowNotice(
        MessageBatch,
        {"state__exact": State.UNCERTAIN},
        lambda: MessageBatch.objects.primary().filter(state=State.UNCERTAIN),
        ngettext_lazy(
            "%(n)s batch was sent and is not confirmed: it may be running and billed. The search for it continues. "
            "If you find it at Anthropic, use Identify batch….",
            "%(n)s batches were sent and are not confirmed: they may be running and billed. The search for them "
            "continues. If you find one at Anthropic, use Identify batch….",
            "number",
        ),
    ),
    "failing": RowNotice(
        MessageBatch,
        {ATTENTION: "yes"},
        lambda: MessageBatch.objects.primary().in_flight().exclude(state=State.UNCERTAIN).needing_attention(),
        ngettext_lazy(
            "%(n)s batch in flight needs attention: its page says why.",
            "%(n)s batches in flight need attention: their pages say why.",
            "number",
        ),
    ),
    "running": RowNotice(
        MessageBatch,
        {NEARING: "yes"},
        lambda: MessageBatch.objects.primary().nearing_deadline().filter(state__in=RUNNING),
        ngettext_lazy(
            "%(n)s batch has been running for 23 hours. What Anthropic has not processed after 24 hours expires; "
            "it is not billed and can be retried.",
            "%(n)s batches have been running for 23 hours. What Anthropic has not processed after 24 hours "
            "expires; it is not billed and can be retried.",
            "number",
        ),
    ),
    "fetching": RowNotice(
        MessageBatch,
        {NEARING: "yes"},
        lambda: MessageBatch.objects.primary().nearing_deadline().filter(state__in=FETCHING),
        ngettext_lazy(
            "%(n)s batch has results that are not all stored, and they can be fetched for less than 2 more days. "
            "Fix its last error, then Check now.",
            "%(n)s batches have results that are not all stored, and they can be fetched for less than 2 more "
            "days. Fix their last errors, then Check now.",
            "number",
        ),
    ),
    # While such a run waits, its job cannot be started again.
    "waiting_runs": RowNotice(
        JobRun,
        {ATTENTION: "yes"},
        lambda: needing_attention(JobRun.objects.primary().active()),
        ngettext_lazy(
            "%(n)s run needs attention: its page says why.",
            "%(n)s runs need attention: their pages say why.",
            "number",
        ),
    ),
}


class _Count(Subquery):
    template = "(SELECT COUNT(*) FROM (%(subquery)s) counted)"
    output_field = IntegerField()


def row_counts(accounts: Collection[str] | None) -> dict[str, Any]:
    """Return the numbers of rows of these accounts as columns of another query, each counted only up to a limit."""
    limit = MOST_COUNTED + 1
    rows = {name: notice.rows().of_accounts(accounts).order_by() for name, notice in ROW_NOTICES.items()}
    return {name: _Count(found.values("pk")[:limit]) for name, found in rows.items()}


def about_rows(viewer: Viewer, live: Any) -> Iterator[Notice]:
    """Yield the notices whose rows exist; `live` is a row with the columns of `row_counts`."""
    for name, notice in ROW_NOTICES.items():
        if number := getattr(live, name):
            shown = f"{number:,}" if number <= MOST_COUNTED else _("More than %(n)s") % {"n": f"{MOST_COUNTED:,}"}
            url = viewer.list_url(notice.model, **notice.parameters)
            yield Notice(notice.words % {"number": number, "n": shown}, url, _("Show them"))
