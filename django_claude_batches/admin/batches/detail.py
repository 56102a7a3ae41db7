"""The content of a batch's page besides its fields. Its requests and results are linked; a few of them are shown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from django_claude_batches.admin.base import display
from django_claude_batches.admin.base.display import Fact
from django_claude_batches.admin.base.outcomes import outcome_url
from django_claude_batches.admin.base.permissions import Viewer
from django_claude_batches.admin.batches.forecast import outlook
from django_claude_batches.admin.batches.related_rows import MAX_ROWS, related_rows
from django_claude_batches.admin.batches.run_facts import of_run
from django_claude_batches.admin.batches.samples import samples
from django_claude_batches.admin.batches.unconfirmed import unconfirmed
from django_claude_batches.admin.batches.usage import spending, usage_table
from django_claude_batches.admin.batches.went_wrong import went_wrong
from django_claude_batches.models import (
    BatchEvent,
    BatchRequest,
    BatchResult,
    JobRun,
    MessageBatch,
    ResultProblem,
    State,
)
from django_claude_batches.models.batch.outcomes import outcome_counts
from django_claude_batches.models.batch.queryset import NEARS_ARCHIVING, NEARS_EXPIRY
from django_claude_batches.models.batch_state import FETCHING, IDENTIFIABLE, REMOTE, RUNNING

# States in which results may be stored.
FETCHED = REMOTE - RUNNING


def batch_page(viewer: Viewer, batch: MessageBatch) -> dict[str, Any]:
    db = batch._state.db
    explanation = batch.explanation
    usage = list(batch.usage.using(db).order_by("model")[:MAX_ROWS]) if batch.state == State.INGESTED else []
    related = related_rows(batch)
    problems = _problems(viewer, related.problems)
    error, whole_error = display.told(batch.last_error)
    return {
        "state": display.state_label(batch),
        "progress": display.progress(batch) if batch.state in REMOTE else "",
        "explanation": explanation,
        "alarm": _alarm(batch),
        "error": error if error not in explanation else "",
        "whole_error": whole_error,
        "counts": list(_counts(viewer, batch)),
        "problems_by_kind": went_wrong(viewer, batch, _number_of(problems)),
        "facts": [*spending(batch, usage), *outlook(batch), *_intents(batch), *_related(viewer, batch)],
        "identified_id": batch.identified_id if batch.is_being_identified else "",
        "adoptable": batch.state in IDENTIFIABLE,
        "unconfirmed": unconfirmed(batch),
        "attempts": related.attempts,
        "usage": usage_table(usage),
        "samples": _samples(viewer, batch),
        "problems": problems,
        "events": [_told(viewer, event) for event in related.events],
    }


def _told(viewer: Viewer, event: BatchEvent) -> dict[str, Any]:
    text, _whole = display.told(viewer.visible(event.text))
    return {"at": event.at, "by": event.by_name, "what": event.what.replace("_", " "), "text": text}


def _alarm(batch: MessageBatch) -> str:
    """Return a warning that the batch is near a deadline."""
    age = timezone.now() - (batch.created_at or timezone.now())
    if batch.state in RUNNING and age > NEARS_EXPIRY:
        return _(
            "It has been running for 23 hours. What Anthropic has not processed after 24 hours expires and is not "
            "billed."
        )
    if batch.state in FETCHING and age > NEARS_ARCHIVING:
        return _("Not all of its results are stored, and they can be fetched for less than 2 more days.")
    return ""


def _counts(viewer: Viewer, batch: MessageBatch) -> Iterable[tuple[str, str, str, str]]:
    """Return name, label, number and URL of each count that is not trivial."""
    requests = viewer.rows_url(BatchRequest, batch.pk)
    yield "requests", _("requests"), f"{batch.request_count:,}", requests
    for each in outcome_counts(batch):
        yield each.name, str(each.label), f"{each.count:,}", outcome_url(viewer, batch.pk, each.name)
    results = viewer.rows_url(BatchResult, batch.pk)
    if results and batch.state in FETCHED:
        yield "results", _("all results"), "", results


def _intents(batch: MessageBatch) -> Iterable[Fact]:
    """Yield the intents that have not been carried out yet."""
    if batch.cancel_requested_at and batch.state in RUNNING | {State.SUBMITTING, State.UNCERTAIN}:
        yield Fact(_("Cancellation requested"), display.moment(batch.cancel_requested_at))
    if batch.delete_requested_at and not batch.remote_deleted_at:
        yield Fact(_("Deletion at Anthropic requested"), display.moment(batch.delete_requested_at))


def _related(viewer: Viewer, batch: Any) -> Iterable[Fact]:
    """Yield the run that made it, the batch that this one retries, and those that retry it."""
    if batch.run is not None:
        yield from of_run(batch, viewer.row_url(JobRun, batch.run.pk))
    if batch.parent is not None and viewer.sees(batch.parent.account):  # a draft can be moved to another account
        yield Fact(_("Retries"), display.link(viewer.row_url(MessageBatch, batch.parent.pk), batch.parent))
    for child in batch.retried_by:
        yield Fact(_("Retried by"), display.link(viewer.row_url(MessageBatch, child.pk), child))


def _samples(viewer: Viewer, batch: MessageBatch) -> list[Any]:
    """Return a few results with their prompts, for users who may view both."""
    may_read = viewer.may_view(BatchResult) and viewer.may_view(BatchRequest)
    if not may_read or batch.state not in FETCHED:
        return []
    return [(sample, viewer.row_url(BatchResult, sample.result.pk)) for sample in samples(batch)]


def _problems(viewer: Viewer, problems: list[ResultProblem]) -> dict[str, Any]:
    """Return the lines that could not be stored, for users who may view answers; for others, their number."""
    shown = problems[:MAX_ROWS]
    rows = shown if viewer.may_view(BatchResult) else []
    return {"count": len(shown), "more": len(problems) > MAX_ROWS, "rows": rows}


def _number_of(problems: dict[str, Any]) -> str:
    """Return how many lines could not be stored, as text; empty for none."""
    if problems["more"]:
        return _("More than %(n)s") % {"n": f"{problems['count']:,}"}
    return f"{problems['count']:,}" if problems["count"] else ""
