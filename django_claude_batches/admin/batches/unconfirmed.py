"""What is known about an unconfirmed batch, for the person who has to decide about it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.template.defaultfilters import date as date_filter
from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _

from django_claude_batches.models import MessageBatch, State, SubmitAttempt
from django_claude_batches.models.attempt import FULL_LISTINGS
from django_claude_batches.models.batch_state import IDENTIFIABLE
from django_claude_batches.services.listings.candidates import foreign_ids
from django_claude_batches.services.submission.baseline import quiet_period

# Candidates, and excluded ids, that are named on one page.
MOST_NAMED = 20


def unconfirmed(batch: MessageBatch) -> dict[str, Any] | None:
    """Return what is known about its last create call; None for a batch that is not unconfirmed, or was never sent."""
    attempt = batch.last_attempt if batch.state in IDENTIFIABLE else None
    if attempt is None or attempt.sent_at is None:
        return None
    excluded = foreign_ids(attempt)
    return {
        "facts": list(_facts(batch, attempt)),
        "candidates": _candidates(attempt),
        "more_candidates": len(attempt.candidates[MOST_NAMED:]),
        "excluded": excluded[-MOST_NAMED:],
        "more_excluded": len(excluded[:-MOST_NAMED]),
    }


def candidates(batch: MessageBatch) -> list[dict[str, Any]]:
    """Return the candidates: id, created_at, requests, status, and why each is undecided."""
    attempt = batch.last_attempt
    return [] if attempt is None else _candidates(attempt)


def _candidates(attempt: SubmitAttempt) -> list[dict[str, Any]]:
    return [{**each, "created_at": _when(each["created_at"])} for each in attempt.candidates[:MOST_NAMED]]


def _when(text: str) -> str:
    """Return a time of the API in the format of the page; unchanged if it cannot be read."""
    try:
        at = parse_datetime(text)
    except ValueError:
        at = None
    return text if at is None or timezone.is_naive(at) else _moment(at)


def _facts(batch: MessageBatch, attempt: SubmitAttempt) -> Iterable[tuple[str, str]]:
    if attempt.sent_at is not None:
        yield _("Sent at"), _moment(attempt.sent_at)
    yield _("Size of the body"), filesizeformat(attempt.body_bytes) if attempt.body_bytes is not None else _("unknown")
    yield _("Newest batch at Anthropic before the call"), _baseline(attempt)
    made = {"made": attempt.listings_made, "needed": FULL_LISTINGS}
    yield _("Full listings without a candidate"), _("%(made)s; %(needed)s are needed") % made
    if batch.state == State.UNCERTAIN and attempt.sent_at is not None:
        yield _("Counts as not received no earlier than"), _moment(attempt.sent_at + quiet_period(attempt))
    if attempt.window_until is not None:
        yield _("Not created at Anthropic after"), _moment(attempt.window_until)
    if attempt.watch_until is not None:
        yield _("Watched for late proofs until"), _moment(attempt.watch_until)


def _baseline(attempt: SubmitAttempt) -> str:
    if not attempt.baseline_id:
        return _("none")
    if attempt.baseline_created_at is None:
        return str(attempt.baseline_id)
    return f"{attempt.baseline_id}, {_moment(attempt.baseline_created_at)}"


def _moment(at: datetime) -> str:
    return str(date_filter(timezone.localtime(at), "DATETIME_FORMAT"))
