"""How a run is displayed: its state's label, what became of its rows, and why it does not move."""

from __future__ import annotations

from collections import Counter

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from django_claude_batches.admin.base import display
from django_claude_batches.models import JobRun, RunState
from django_claude_batches.models.batch.outcomes import LABELS, OutcomeCount
from django_claude_batches.models.batch_state import FINAL, State
from django_claude_batches.models.run_totals import RunTotals

# What became of rows, in the order of the bar; failures in that of outcomes.
PARTS = {
    "delivered": gettext_lazy("delivered"),
    **{name: label for name, label in LABELS.items() if name not in {"succeeded", "answered", "processing"}},
    "failed_deliveries": gettext_lazy("raised an error in the job's code"),
    "gone": gettext_lazy("deleted before delivery"),
    "underway": gettext_lazy("under way"),
    "unasked": gettext_lazy("not asked"),
}


def run_state(run: JobRun) -> SafeString:
    """Return the label of the state, or *Paused* for a paused run that is not over."""
    if run.is_active and run.is_paused:
        return format_html('<span class="dcb-state dcb-paused">{}</span>', _("Paused"))
    return format_html('<span class="dcb-state dcb-run-{}">{}</span>', run.state, RunState(run.state).label)


def explanation(run: JobRun, totals: RunTotals) -> str:
    """Return what the state means, and what comes next."""
    if run.is_active and run.is_paused:
        return _("Drafting, sending and delivering stop until a person resumes it.")
    if run.state == RunState.DRAFTING:
        rows = ngettext("%(n)s row is drafted so far.", "%(n)s rows are drafted so far.", run.row_count)
        return rows % {"n": f"{run.row_count:,}"} + " " + _("Full batches are sent already.")
    if run.state == RunState.CANCELING:
        return _(
            "Nothing more is sent. Finished requests are billed, and their results are kept and delivered to the job."
        )
    if run.state == RunState.RUNNING:
        return _standing(totals)
    if run.state == RunState.CANCELED:
        return _("Canceled. Results of requests that had finished were delivered to the job.")
    return f"{_all_done(totals)} {_left_out(totals)}".rstrip()


def _standing(totals: RunTotals) -> str:
    total = totals.batch_count
    if not total:
        return _("All rows are drafted.")
    through = sum(count for state, count in totals.batches.items() if state in FINAL)
    waiting = totals.batches[State.DRAFT]
    text = ngettext("%(n)s of %(all)s batch has its results.", "%(n)s of %(all)s batches have their results.", total)
    said = text % {"n": f"{through:,}", "all": f"{total:,}"}
    if not waiting:
        return said
    text = ngettext(
        "%(n)s waits for room in the account's queue.", "%(n)s wait for room in the account's queue.", waiting
    )
    return f"{said} {text % {'n': f'{waiting:,}'}}"


def _all_done(totals: RunTotals) -> str:
    if not totals.rows:
        return _("No row was asked.") if totals.left_out else _("There were no rows to ask about.")
    delivered = ngettext("Finished. %(n)s row delivered", "Finished. %(n)s rows delivered", totals.delivered)
    said = delivered % {"n": f"{totals.delivered:,}"}
    if not totals.failed_deliveries:
        return f"{said}."
    raised = _("%(n)s raised an error in the job's code. Fix the code, then Redeliver.")
    return f"{said}; {raised % {'n': f'{totals.failed_deliveries:,}'}}"


def _left_out(totals: RunTotals) -> str:
    if not totals.left_out:
        return ""
    text = ngettext(
        "%(n)s row was left out because it could not be asked.",
        "%(n)s rows were left out because they could not be asked.",
        totals.left_out,
    )
    return text % {"n": f"{totals.left_out:,}"}


def parts(run: JobRun, totals: RunTotals) -> list[OutcomeCount]:
    """Return how many rows had each outcome; the numbers add up to all of them."""
    counts = Counter(delivered=totals.delivered, failed_deliveries=totals.failed_deliveries, gone=totals.gone)
    for outcome, count in totals.failures.items():
        counts[outcome if outcome in PARTS else "other"] += count
    counts["underway" if run.is_active else "unasked"] = max(totals.rows - counts.total(), 0)
    return [OutcomeCount(name, label, counts[name]) for name, label in PARTS.items() if counts[name]]


def run_progress(run: JobRun, totals: RunTotals) -> str:
    """Return a bar of the outcomes of the rows, with its text."""
    if not totals.rows:
        return display.EMPTY
    if not totals.handled:
        return ngettext("%(n)s row", "%(n)s rows", totals.rows) % {"n": f"{totals.rows:,}"}
    return display.bar(parts(run, totals), totals.rows)
