"""The content of a run's page besides its fields: from stored sums of its batches, never from its results."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_claude_batches.admin.base import display
from django_claude_batches.admin.base.display import Fact
from django_claude_batches.admin.base.error_groups import error_groups
from django_claude_batches.admin.base.failed_deliveries import MAX_COUNTED, failed_delivery_groups
from django_claude_batches.admin.base.filters import RUN
from django_claude_batches.admin.base.outcomes import outcome_url
from django_claude_batches.admin.base.permissions import Viewer
from django_claude_batches.admin.batches.usage import tokens
from django_claude_batches.admin.runs.display import explanation, parts, run_progress, run_state
from django_claude_batches.models import BatchResult, JobRun, MessageBatch
from django_claude_batches.models.batch.outcomes import LABELS, method_of
from django_claude_batches.models.run import WORKING
from django_claude_batches.models.run_totals import RunTotals

# Batches in the table of the page; the list of batches has them all.
MOST_ROWS = 50

# Errors of failed deliveries that the page shows.
MAX_ERRORS = 10

MOST_KINDS = 20

# Batches named for each kind of failure.
MOST_NAMED = 5


def run_page(viewer: Viewer, run: Any) -> dict[str, Any]:
    """Return the content for a run that has the attributes set by `JobRunAdminMixin.fetch`; at most three queries."""
    totals = RunTotals.of_batches(run, run.own_batches, failed_deliveries=run.failed_delivery_count)
    failed = failed_delivery_groups(viewer, {"batch__run": run.pk}) if run.failed_delivery_count else []
    reason, whole_reason = display.told(run.pause_reason) if run.is_paused else ("", "")
    error, whole_error = display.told(run.last_error)
    return {
        "state": run_state(run),
        "progress": run_progress(run, totals) if totals.handled else "",
        "explanation": explanation(run, totals),
        "reason": reason,
        "whole_reason": whole_reason,
        "error": error,
        "whole_error": whole_error,
        "counts": list(_counts(viewer, run, totals)),
        "facts": [*_left(viewer, run), *_facts(run, totals)],
        "errors": list(_errors(viewer, run, totals)),
        "batches": [_batch(viewer, batch, totals) for batch in run.own_batches[-MOST_ROWS:]],
        "more_batches": max(len(run.own_batches) - MOST_ROWS, 0),
        "batches_url": viewer.list_url(MessageBatch, **{RUN: run.pk}),
        "left_out": run.left_out_rows,
        "left_out_count": run.left_out_count,
        "more_left_out": run.left_out_count - len(run.left_out_rows),
        "failed_deliveries": failed[:MAX_ERRORS],
        "more_failed_deliveries": len(failed[MAX_ERRORS:]),
        "failed_delivery_count": run.failed_delivery_count,
        "counted_failed_deliveries": MAX_COUNTED if run.failed_delivery_count > MAX_COUNTED else 0,
    }


def _counts(viewer: Viewer, run: JobRun, totals: RunTotals) -> Iterator[Any]:
    """Yield name, label, number and URL of each count that is not trivial."""
    yield "rows", ngettext("row", "rows", totals.rows), f"{totals.rows:,}", ""
    for each in parts(run, totals):
        yield each.name, str(each.label), f"{each.count:,}", _part_url(viewer, run, each.name, totals)
    if totals.left_out:
        yield "left-out", _("left out"), f"{totals.left_out:,}", "#dcb-left-out"
    url = viewer.list_url(MessageBatch, **{RUN: run.pk})
    if totals.batch_count and url:
        yield "batches", ngettext("batch", "batches", totals.batch_count), f"{totals.batch_count:,}", url


def _part_url(viewer: Viewer, run: JobRun, name: str, totals: RunTotals) -> str:
    """Return the URL of the rows with this outcome, or of the page's section about them if no list has them."""
    if name == "failed_deliveries":
        return "#dcb-parked"
    if name not in {"delivered", *totals.failures}:
        return ""
    outcome = "succeeded" if name == "delivered" else name
    batches = [pk for pk, outcomes in totals.outcomes_of_batch.items() if outcomes[outcome]]
    if len(batches) == 1:
        return _rows_url(viewer, outcome, "", batches[0])
    method = method_of(outcome)
    url = viewer.list_url(BatchResult, **{RUN: run.pk}, outcome=method) if method else ""
    return url or ("" if name == "delivered" else "#dcb-errors")


def _left(viewer: Viewer, run: Any) -> Iterator[Fact]:
    left = [batch for batch in run.own_batches if batch.is_left] if run.state in WORKING else []
    if left:
        named = [(_link(viewer, batch.pk), display.state_label(batch)) for batch in left[:MOST_NAMED]]
        batches = format_html_join(", ", "{} {}", named)
        yield Fact(
            _("Needs attention"),
            format_html(_("{batches}. Submit the batches that were not accepted, or cancel the run."), batches=batches),
        )


def _facts(run: Any, totals: RunTotals) -> Iterator[Fact]:
    if run.next_action_at is not None and not run.is_paused:
        text = _("It is checked, %(when)s.") % {"when": display.until(run.next_action_at)}
        yield Fact(_("Next"), text)
    if totals.to_retry:
        rows = ngettext("%(n)s row", "%(n)s rows", totals.to_retry) % {"n": f"{totals.to_retry:,}"}
        yield Fact(_("To be retried"), rows)
    if len(totals.requests) > 1:
        each = ngettext("%(n)s attempt", "%(n)s attempts", len(totals.requests)) % {"n": len(totals.requests)}
        text = _("%(requests)s in %(attempts)s") % {"requests": f"{totals.request_count:,}", "attempts": each}
        yield Fact(_("Requests"), text)
    if totals.usage.total():
        yield Fact(_("Tokens"), tokens(totals.usage))
    if totals.handled or totals.known_cost_usd:
        yield Fact(_("Cost"), _cost(run, totals))


def _cost(run: Any, totals: RunTotals) -> str:
    """Return what all attempts cost, with the day or days of the prices."""
    if totals.cost_usd is None:
        return _("not known: a batch of this run has no known cost")
    days = sorted({batch.prices_as_of for batch in run.own_batches if batch.prices_as_of})
    if len(days) < 2:
        return display.usd(totals.cost_usd, *days)
    shown = {"first": date_format(days[0], "DATE_FORMAT"), "last": date_format(days[-1], "DATE_FORMAT")}
    return format_html(_("{amount} (prices of {first} to {last})"), amount=display.usd(totals.cost_usd), **shown)


def _errors(viewer: Viewer, run: Any, totals: RunTotals) -> Iterator[dict[str, Any]]:
    """Yield each kind of failure with its rows, and links to them in the batches that have some."""
    for (outcome, error_type), batches in _kinds(run.own_batches, totals.outcomes_of_batch):
        named = batches.most_common(MOST_NAMED)
        yield {
            "outcome": LABELS.get(outcome, outcome),
            "error_type": error_type,
            "rows": f"{batches.total():,}",
            "batches": [(f"#{pk}", f"{rows:,}", _rows_url(viewer, outcome, error_type, pk)) for pk, rows in named],
            "more": len(batches) - len(named),
        }


def _kinds(
    batches: Iterable[MessageBatch], outcomes: dict[int, Counter[str]]
) -> list[tuple[tuple[str, str], Counter[int]]]:
    """Return outcome and type of error of each kind, and the number of its rows in each batch; no query.

    The most frequent come first. `outcomes` are those of each delivered batch.
    """
    found: defaultdict[tuple[str, str], Counter[int]] = defaultdict(Counter)
    for batch in batches:
        for outcome, error_type, count in _failures(batch, outcomes.get(batch.pk, Counter())):
            found[outcome, error_type][batch.pk] += count
    return sorted(found.items(), key=lambda kind: (-kind[1].total(), kind[0]))[:MOST_KINDS]


def _failures(batch: MessageBatch, outcomes: Counter[str]) -> Iterator[tuple[str, str, int]]:
    """Yield outcome, type of error and number: errors as they were counted when the results were stored."""
    groups = error_groups(batch)
    for group in groups:
        yield "errored", group.error_type, group.rows
    for outcome, count in outcomes.items():
        if outcome != "succeeded" and not (outcome == "errored" and groups):
            yield outcome, "", count


def _rows_url(viewer: Viewer, outcome: str, error_type: str, pk: int) -> str:
    """Return the URL of the rows of this kind; the batch's URL if no list has them or the user may not view it."""
    url = viewer.rows_url(BatchResult, pk, error_type=error_type) if error_type else outcome_url(viewer, pk, outcome)
    return url or viewer.row_url(MessageBatch, pk)


def _batch(viewer: Viewer, batch: Any, totals: RunTotals) -> dict[str, Any]:
    looked_at = totals.outcomes_of_batch.get(batch.pk)
    return {
        "number": _link(viewer, batch.pk),
        "parent": _link(viewer, batch.parent_id) if batch.parent_id else "",
        "attempt": batch.run_attempt,
        "state": display.state_label(batch),
        "progress": display.progress(batch),
        "handled": f"{looked_at.total() if looked_at else 0:,}",
        "failed_deliveries": batch.failed_delivery_count,
        "cost": display.EMPTY if batch.cost_usd is None else display.usd(batch.cost_usd, batch.prices_as_of),
    }


def _link(viewer: Viewer, pk: int) -> str:
    return display.link(viewer.row_url(MessageBatch, pk), f"#{pk}")
