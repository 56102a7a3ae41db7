"""Fetch the results of a complete batch again."""

from __future__ import annotations

from typing import Any

from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from django_claude_batches.db.leases import now_plus
from django_claude_batches.models import MessageBatch, State
from django_claude_batches.services.announcements import RESULT_BODIES_PRESENT
from django_claude_batches.services.backoff import NO_DELAY
from django_claude_batches.services.polling.loss import RESULTS_LAST


def reingest(batch: MessageBatch, *, by: Any = None) -> MessageBatch:
    """Request that a complete batch's results are fetched again. No HTTP: a worker does it. It is not billed.

    Nothing stored is changed: results that are rows stay as they are, with their costs, and those that are not become
    rows. Then the batch is complete again, and `results_ingested` is sent again. Repeating the call does nothing.

    Raise InvalidTransition if the batch is not complete and announced, if its answers were purged, if it is or will be
    deleted at Anthropic, and after the 29 days for which results are kept there (docs/reference/wire.md §11.16).
    """
    # `announced_at` stays until it is complete again, and tells a fetch like this one from the first (`was_complete`).
    if batch.move(
        State.ENDED, allowed={State.INGESTED}, where=_match_refetchable(), due=NO_DELAY, ingested_at=None, last_error=""
    ):
        batch.log_event("reingest_requested", by=by)
        return batch
    if batch.was_complete:
        return batch
    why = obstacle(batch) if batch.state == State.INGESTED else ""
    raise batch.forbidden("fetch again the results of", {State.INGESTED}, f"it {why}." if why else "")


def obstacle(batch: MessageBatch) -> str:
    """Return why a complete batch's results cannot be fetched again, as a phrase after its name; empty if they can.

    No query.
    """
    if batch.announced_at is None:
        return _("is still being announced to the app")
    if batch.result_purge_note:
        return _("has no answers any more: they were purged, and do not come back")
    if batch.remote_deleted_at is not None:
        return _("is deleted at Anthropic")
    if batch.delete_requested_at is not None:
        return _("is going to be deleted at Anthropic")
    if batch.archived_at is not None or batch.created_at is None or batch.created_at < timezone.now() - RESULTS_LAST:
        return _("is older than the 29 days for which Anthropic keeps results")
    return ""


def _match_refetchable() -> Q:
    """Match batches whose results are still at Anthropic, and whose rows are not purged."""
    wanted = Q(announced_at__isnull=False, delete_requested_at__isnull=True, remote_deleted_at__isnull=True)
    return wanted & RESULT_BODIES_PRESENT & Q(archived_at__isnull=True, created_at__gte=now_plus(-RESULTS_LAST))
