"""The content of a run's page besides its fields: from stored sums of its batches, never from its results."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.http import HttpRequest
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_claude_batches.admin.base import display
from django_claude_batches.admin.base.display import Fact
from django_claude_batches.admin.base.filters import RUN
from django_claude_batches.admin.batches.usage import tokens
from django_claude_batches.admin.pages.read_only import MirrorAdminMixin
from django_claude_batches.admin.runs.confirmations import OUTCOMES
from django_claude_batches.admin.runs.display import explanation, parts, run_progress, run_state
from django_claude_batches.admin.runs.errors import Kind, kinds_of_failure
from django_claude_batches.models import BatchRequest, BatchResult, FailedDelivery, JobRun, MessageBatch
from django_claude_batches.models.run import WORKING
from django_claude_batches.models.run_totals import RunTotals

# Batches in the table of the page; the list of batches has them all.
MOST_ROWS = 50

MAX_FAILED_DELIVERIES = 10

# Batches named for each kind of failure.
MOST_NAMED = 5

# Outcomes by which a list of results can be filtered.
FILTERS = frozenset({"truncated", "refused", "unfinished", "invalid_output", "errored", "canceled", "expired"})


def run_page(page: MirrorAdminMixin, request: HttpRequest, run: Any) -> dict[str, Any]:
    """Return it for a run annotated with its `own_batches` and its number of failed deliveries, in three queries."""
    totals = RunTotals.of_batches(run, run.own_batches, failed_deliveries=run.failed_delivery_count)
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
        "counts": list(_counts(page, request, run, totals)),
        "facts": [*_left(page, request, run), *_facts(run, totals)],
        "errors": list(_errors(page, request, run, totals)),
        "batches": [_batch(page, request, batch, totals) for batch in run.own_batches[-MOST_ROWS:]],
        "more_batches": max(len(run.own_batches) - MOST_ROWS, 0),
        "batches_url": page.list_url(MessageBatch, **{RUN: run.pk}) if page.may_view(request, MessageBatch) else "",
        "left_out": run.left_out_rows,
        "left_out_count": run.left_out_count,
        "more_left_out": run.left_out_count - len(run.left_out_rows),
        "failed_deliveries": _parked(page, request, run) if run.failed_delivery_count else [],
        "failed_delivery_count": run.failed_delivery_count,
        "more_failed_deliveries": max(run.failed_delivery_count - MAX_FAILED_DELIVERIES, 0),
    }


def _counts(page: MirrorAdminMixin, request: HttpRequest, run: JobRun, totals: RunTotals) -> Iterator[Any]:
    """Yield name, label, number and URL of each count that is not trivial."""
    yield "rows", ngettext("row", "rows", totals.rows), f"{totals.rows:,}", ""
    for name, label, count in parts(run, totals):
        if count:
            yield (
                name,
                str(label),
                f"{count:,}",
                {"failed_deliveries": "#dcb-parked", "failed": "#dcb-errors"}.get(name, ""),
            )
    if totals.left_out:
        yield "left-out", _("left out"), f"{totals.left_out:,}", "#dcb-left-out"
    if totals.batch_count and page.may_view(request, MessageBatch):
        label = ngettext("batch", "batches", totals.batch_count)
        yield "batches", label, f"{totals.batch_count:,}", page.list_url(MessageBatch, **{RUN: run.pk})


def _left(page: MirrorAdminMixin, request: HttpRequest, run: Any) -> Iterator[Fact]:
    left = [batch for batch in run.own_batches if batch.is_left] if run.state in WORKING else []
    if left:
        may_view = page.may_view(request, MessageBatch)
        named = [(_link(page, batch.pk, may_view=may_view), display.state_label(batch)) for batch in left[:MOST_NAMED]]
        batches = format_html_join(", ", "{} {}", named)
        yield Fact(
            _("Needs attention"),
            format_html(_("{batches}. Submit what was not accepted, or cancel the run."), batches=batches),
        )


def _facts(run: Any, totals: RunTotals) -> Iterator[Fact]:
    if run.next_action_at is not None and not run.is_paused:
        text = _("It is checked, %(when)s.") % {"when": display.until(run.next_action_at)}
        yield Fact(_("Next"), text)
    if totals.to_retry:
        rows = ngettext("%(n)s row", "%(n)s rows", totals.to_retry) % {"n": f"{totals.to_retry:,}"}
        yield Fact(_("Asked again"), rows)
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
        return _("not known: a batch of it has no known cost")
    days = sorted({batch.prices_as_of for batch in run.own_batches if batch.prices_as_of})
    if len(days) < 2:
        return display.usd(totals.cost_usd, *days)
    shown = {"first": date_format(days[0], "DATE_FORMAT"), "last": date_format(days[-1], "DATE_FORMAT")}
    return _("%(amount)s (prices of %(first)s to %(last)s)") % {"amount": display.usd(totals.cost_usd), **shown}


def _errors(page: MirrorAdminMixin, request: HttpRequest, run: Any, totals: RunTotals) -> Iterator[dict[str, Any]]:
    """Yield each kind of failure with its rows, and links to them in the batches that have some."""
    for kind in kinds_of_failure(run.own_batches, totals.outcomes_of_batch):
        named = kind.batches.most_common(MOST_NAMED)
        yield {
            "outcome": OUTCOMES.get(kind.outcome, kind.outcome),
            "error_type": kind.error_type,
            "rows": f"{kind.rows:,}",
            "batches": [(f"#{pk}", f"{rows:,}", _rows_url(page, request, kind, pk)) for pk, rows in named],
            "more": len(kind.batches) - len(named),
        }


def _rows_url(page: MirrorAdminMixin, request: HttpRequest, kind: Kind, pk: int) -> str:
    """Return the URL of the rows of this kind: the batch's, if the user may not view its rows."""
    if kind.outcome == "missing":
        url = page.rows_url(request, BatchRequest, pk, outcome="missing")
    elif kind.error_type:
        url = page.rows_url(request, BatchResult, pk, error_type=kind.error_type)
    else:
        chosen = {"outcome": kind.outcome} if kind.outcome in FILTERS else {}
        url = page.rows_url(request, BatchResult, pk, **chosen)
    return url or (page.row_url(MessageBatch, pk) if page.may_view(request, MessageBatch) else "")


def _batch(page: MirrorAdminMixin, request: HttpRequest, batch: Any, totals: RunTotals) -> dict[str, Any]:
    may_view = page.may_view(request, MessageBatch)
    looked_at = totals.outcomes_of_batch.get(batch.pk)
    return {
        "number": _link(page, batch.pk, may_view=may_view),
        "parent": _link(page, batch.parent_id, may_view=may_view) if batch.parent_id else "",
        "attempt": batch.run_attempt,
        "state": display.state_label(batch),
        "progress": display.progress(batch),
        "handled": f"{looked_at.total() if looked_at else 0:,}",
        "failed_deliveries": batch.failed_delivery_count,
        "cost": display.EMPTY if batch.cost_usd is None else display.usd(batch.cost_usd),
    }


def _link(page: MirrorAdminMixin, pk: int, *, may_view: bool) -> str:
    return display.link(page.row_url(MessageBatch, pk), f"#{pk}") if may_view else f"#{pk}"


def _parked(page: MirrorAdminMixin, request: HttpRequest, run: JobRun) -> list[tuple[Any, str, str, str]]:
    """Return the first failed deliveries, with the error in one line and whole, and the URL of the result."""
    rows = FailedDelivery.objects.primary().filter(batch__run=run.pk).order_by("pk").select_related("request__result")
    shown = ("batch_id", "position", "outcome", "error", "traceback", "request__custom_id")
    rows = rows.only(*shown, "request__result__custom_id")[:MAX_FAILED_DELIVERIES]
    return [(row, *display.told(page.visible(request, row.raised)), _parked_url(page, request, row)) for row in rows]


def _parked_url(page: MirrorAdminMixin, request: HttpRequest, row: Any) -> str:
    result = getattr(row.request, "result", None)
    if result is not None and page.may_view(request, BatchResult):
        return page.row_url(BatchResult, result.pk)
    return page.row_url(BatchRequest, row.request_id) if page.may_view(request, BatchRequest) else ""
