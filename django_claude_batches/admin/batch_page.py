"""What a batch's page tells, beside its fields. Its requests and results are linked to, never loaded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext as _

from django_claude_batches.admin import display
from django_claude_batches.admin.mirror import MirrorAdminMixin
from django_claude_batches.admin.unconfirmed import unconfirmed
from django_claude_batches.models import BatchRequest, BatchResult, MessageBatch, State
from django_claude_batches.models.state import ADOPTING, FETCHING, REMOTE, RUNNING

MOST_EVENTS = 50
MOST_ROWS = 20
"""Rows of each other table on the page."""


def batch_page(page: MirrorAdminMixin, request: HttpRequest, batch: MessageBatch) -> dict[str, Any]:
    db = batch._state.db
    may_read = page.may_view(request, BatchResult)
    problems = batch.problems.using(db).order_by("number")
    return {
        "state": display.state_label(batch),
        "progress": display.progress(batch) if batch.state in REMOTE else "",
        "explanation": batch.explanation,
        "alarm": _alarm(batch),
        "error": batch.last_error if batch.last_error not in batch.explanation else "",
        "counts": list(_counts(page, request, batch)),
        "wishes": list(_wishes(batch)),
        "claimed_id": batch.claimed_id if batch.state in ADOPTING else "",
        "adoptable": batch.state in ADOPTING,
        "unconfirmed": unconfirmed(batch),
        "related": _related(page, batch),
        "attempts": batch.attempts.using(db).order_by("-number")[:MOST_ROWS],
        "usage": batch.usage.using(db).order_by("model")[:MOST_ROWS],
        "cost": _cost(batch),
        "problem_count": problems.count() if batch.state in REMOTE else 0,
        # A problem's excerpt is a piece of an answer.
        "problems": problems[:MOST_ROWS] if may_read else [],
        "events": [
            {"at": event.at, "by": event.by_name, "what": event.what.replace("_", " "), "text": event.text}
            for event in batch.events.using(db).order_by("-pk")[:MOST_EVENTS]
        ],
        "most_events": MOST_EVENTS,
    }


def _alarm(batch: MessageBatch) -> str:
    """Say that the batch nears an end that it should not come to."""
    if batch.state not in RUNNING | FETCHING:
        return ""
    if not MessageBatch.objects.primary().nearing_their_end().filter(pk=batch.pk).exists():
        return ""
    if batch.state in RUNNING:
        return _("It has been running for 23 hours: what Anthropic has not processed after 24 expires, unbilled.")
    return _("Its results are not all stored, and they can be fetched for less than 2 days more.")


def _cost(batch: MessageBatch) -> str:
    """Say what it cost, by which prices; those were noted when it became complete."""
    if batch.state != State.INGESTED:
        return ""
    if batch.cost_usd is None:
        return _("What it cost is not known: a model has no price here, or an answer no count of tokens.")
    return _("It cost %(cost)s USD. The timeline says by the prices of which day.") % {"cost": batch.cost_usd}


def _counts(page: MirrorAdminMixin, request: HttpRequest, batch: MessageBatch) -> Iterable[tuple[str, str, str]]:
    """Give label, number and address of each count that says something."""
    requests = page.rows_url(request, BatchRequest, batch.pk)
    yield _("requests"), f"{batch.request_count:,}", requests
    for name, label in display.OUTCOMES.items():
        count = getattr(batch, f"{name}_count")
        if count:
            url = "" if name == "processing" else page.rows_url(request, BatchResult, batch.pk, outcome=name)
            yield str(label), f"{count:,}", url
    if batch.missing_count:
        url = page.rows_url(request, BatchRequest, batch.pk, outcome="missing")
        yield _("missing"), f"{batch.missing_count:,}", url
    results = page.rows_url(request, BatchResult, batch.pk)
    if results and batch.state in REMOTE - RUNNING:
        yield _("all results"), "", results


def _wishes(batch: MessageBatch) -> Iterable[tuple[str, Any]]:
    """Give what somebody asked for that has not happened yet."""
    if batch.cancel_requested_at and batch.state in RUNNING | {State.SUBMITTING, State.UNCERTAIN}:
        yield _("Asked to be canceled"), batch.cancel_requested_at
    if batch.delete_requested_at and not batch.remote_deleted_at:
        yield _("Asked to be deleted at Anthropic"), batch.delete_requested_at


def _related(page: MirrorAdminMixin, batch: MessageBatch) -> list[tuple[str, str, str]]:
    """Give the batch that this one retries, and those that retry it."""
    found = [] if batch.parent is None else [(_("Retries"), batch.parent)]
    found += [(_("Retried by"), child) for child in batch.retries.using(batch._state.db).order_by("pk")[:MOST_ROWS]]
    return [(label, str(other), page.row_url(MessageBatch, other.pk)) for label, other in found]
