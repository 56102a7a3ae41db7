"""A run as text for people, and as JSON for scripts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from django.db.models import Q

from django_claude_batches.estimates import dollars
from django_claude_batches.management.cli.batch_output import counted
from django_claude_batches.management.cli.console import Console
from django_claude_batches.models import AccountState, DeliveryChunk, JobRun, MessageBatch, RunState, State
from django_claude_batches.models.batch.outcomes import LABELS
from django_claude_batches.models.batch_state import ALWAYS_DUE, EDITABLE, FINAL
from django_claude_batches.models.run_attention import attention
from django_claude_batches.models.run_totals import RunTotals

# States that a batch soon leaves automatically.
MOVING = ALWAYS_DUE - {State.UNCERTAIN}

# Counts of rows in `RunTotals`.
COUNTS = ("delivered", "failed", "canceled", "failed_deliveries", "gone", "to_retry", "left_out")

TIMES = ("started", "drafted", "finished", "paused")


def line(run: JobRun, totals: RunTotals) -> str:
    """Return the run and its totals so far, in one line."""
    text = f"{glance(run, totals)}. {_cost(totals)}"
    return f"{text} {why}" if (why := attention(run)) else text


def glance(run: JobRun, totals: RunTotals) -> str:
    """Return the state and the counts, short enough for a progress line."""
    state = f"{RunState(run.state).label}{', paused' if run.is_paused else ''}"
    counts = [f"{number:,} {name.replace('_', ' ')}" for name in COUNTS if (number := getattr(totals, name))]
    text = f"{run}: {', '.join([state, counted(totals.rows, 'row'), _batches(totals.batches), *counts])}"
    kinds = [f"{count:,} {LABELS.get(name, name)}" for name, count in totals.failures.items() if name != "canceled"]
    return f"{text}; failed: {', '.join(sorted(kinds))}" if kinds else text


def _batches(states: Counter[str]) -> str:
    each = ", ".join(f"{states[state]:,} {State(state).label}" for state in State if states[state])
    return counted(states.total(), "batch", "batches") + (f" ({each})" if each else "")


def _cost(totals: RunTotals) -> str:
    known = f"{dollars(totals.known_cost_usd)} so far"
    if not totals.batches_of_unknown_cost:
        return f"{known}."
    return f"{known}, and what {counted(totals.batches_of_unknown_cost, 'batch', 'batches')} cost, which is not known."


def stands_still(run: JobRun) -> bool:
    """Return whether nothing more happens to the run automatically, and it is not over."""
    return run.is_active and (run.is_paused or _is_account_paused(run) or _is_stuck(run))


def _is_account_paused(run: JobRun) -> bool:
    if not run.batches.using(JobRun.objects.primary().db).filter(state=State.QUEUED).exists():
        return False
    return AccountState.objects.primary().paused().filter(alias=run.account, paused_until=None).exists()


def _is_stuck(run: JobRun) -> bool:
    undone = DeliveryChunk.objects.primary().undone().filter(batch__run=run)
    stuck = undone.stuck()
    waits = MessageBatch.objects.primary().filter(run=run, delivered_at__isnull=True).exclude(deliveries__in=stuck)
    if run.state == RunState.CANCELING:
        waits = waits.exclude(state__in=EDITABLE)  # they are not sent any more
    moves = Q(state__in=MOVING | FINAL) | Q(state=State.DRAFT, submitted_by_run_at__isnull=True)
    if run.state == RunState.DRAFTING or waits.filter(moves).exists() or undone.exclude(pk__in=stuck).exists():
        return False
    return waits.exists() or stuck.exists()


def data(run: JobRun, totals: RunTotals) -> dict[str, Any]:
    """Return what `--json` prints about a run. Times are ISO 8601; USD are text, null if unknown."""
    return {
        "id": run.pk,
        "job": run.job,
        "label": run.label,
        "account": run.account,
        "state": run.state,
        "attention": attention(run),
        "rows": totals.rows,
        "requests": totals.request_count,
        "batches": dict(totals.batches),
        **{name: getattr(totals, name) for name in COUNTS},
        "left_out_rows": run.left_out_rows,
        "failures": dict(totals.failures),
        "outcomes": dict(totals.outcomes),
        "usage": dict(totals.usage),
        "cost_usd": None if totals.cost_usd is None else f"{totals.cost_usd:f}",
        "last_error": run.last_error,
        **{f"{name}_at": at.isoformat() if (at := getattr(run, f"{name}_at")) else None for name in TIMES},
    }


def show(console: Console, runs: Sequence[JobRun]) -> None:
    """Write a line for each run, or the JSON document."""
    totals = RunTotals.of_each(runs)
    for run in runs:
        console.say(line(run, totals[run.pk]))
    console.document({"runs": [data(run, totals[run.pk]) for run in runs]})
