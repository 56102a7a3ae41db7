"""Decide when a batch that Anthropic no longer knows is lost."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Coalesce
from django.utils import timezone

from django_claude_batches import wire
from django_claude_batches.client import BatchesClient
from django_claude_batches.client.paging import last_id, list_pages
from django_claude_batches.db.leases import DatabaseNow, now_plus
from django_claude_batches.exceptions import ClaudeBatchesError
from django_claude_batches.models import MessageBatch, UsageRollup
from django_claude_batches.models.batch_state import FETCHING, NOT_BEING_IDENTIFIED, RUNNING, State
from django_claude_batches.models.remote_batch import MISSES_UNTIL_GONE, MISSING_PERIOD
from django_claude_batches.models.usage import Summary
from django_claude_batches.sanitize import get_logger
from django_claude_batches.services.announcements import send_signal
from django_claude_batches.services.backoff import NO_DELAY
from django_claude_batches.services.listings.page import list_page
from django_claude_batches.services.mirror import moment
from django_claude_batches.signals import batch_failed

logger = get_logger(__name__)

# Not found three times over half an hour.
PROVEN_MISSING = Q(misses__gte=MISSES_UNTIL_GONE, missed_at__lte=now_plus(-MISSING_PERIOD))

# States in which a person may declare a batch lost.
DECLARABLE = RUNNING | FETCHING | {State.HELD}

MAX_PAGES = 50
RESULTS_LAST = timedelta(days=wire.RESULTS_LAST_DAYS)


def record_miss(batch: MessageBatch, client: BatchesClient, why: str) -> bool:
    """Count a 404; return whether it is now proved that the batch is gone, which marks it lost.

    The proof takes three of them over half an hour, and a full listing without the batch in the Workspace where it was
    created. A key of another Workspace proves nothing; nor does any key if the Workspace is unknown: then the batch is
    lost when Anthropic no longer keeps its results, or when a person declares it.
    """
    rows = MessageBatch.objects.primary().filter(pk=batch.pk, state__in=RUNNING | FETCHING)
    rows.update(misses=F("misses") + 1, missed_at=Coalesce("missed_at", DatabaseNow()), last_error=why)
    if not rows.filter(PROVEN_MISSING).exists():
        return False
    if is_past_results_deadline(batch):
        return mark_lost(batch, f"{batch.anthropic_id} was not found, and Anthropic keeps its results no longer.")
    if not _is_absent(batch, client):
        return False
    return mark_lost(batch, f"{batch.anthropic_id} is not at Anthropic any more: it was deleted there.")


def without_results(batch: MessageBatch) -> tuple[State, dict[str, Any], Summary]:
    """Return the state of a batch whose results are no longer fetched, its columns, and the sums of what is stored.

    It is lost; but one that was complete before is complete again. That is announced again: `last_error`, which
    recorded what its receivers had not handled, was overwritten by the fetch.
    """
    summary = UsageRollup.objects.primary().sum_up(batch.pk)
    known = {
        "missing_count": batch.count_missing(summary),
        "error_groups": summary.error_groups,
        "result_counts": summary.result_counts,
    }
    if not batch.was_complete:
        return State.LOST, known, summary
    again = {"ingested_at": DatabaseNow(), "announced_at": None, "due": NO_DELAY, "cost_usd": summary.cost_usd}
    return State.INGESTED, known | again, summary


def mark_lost(batch: MessageBatch, why: str) -> bool:
    """Mark the batch as lost: its results cannot be fetched any more. Stored rows stay."""
    lost = _mark_lost(batch, why)
    if lost and batch.state == State.LOST:
        logger.error("Batch %s is lost: %s", batch.pk, why)
        send_signal(batch_failed, batch)
    return lost


def _mark_lost(batch: MessageBatch, why: str, *, where: Q | None = None, by: Any = None) -> bool:
    state, columns, summary = without_results(batch)
    with transaction.atomic(using=MessageBatch.objects.primary().db):
        lost = batch.move(state, allowed=RUNNING | FETCHING, where=where, last_error=why, **columns)
        if lost:
            UsageRollup.objects.primary().replace(batch, summary)
            batch.log_event("lost" if state == State.LOST else "not_fetched_again", why, by=by)
    return lost


def declare_lost(batch: MessageBatch, *, by: Any = None) -> MessageBatch:
    """Declare that nothing more of the batch can be fetched. Stored rows stay; a run of a job continues without it.

    For a batch that Anthropic did not find three times over half an hour, where no listing can prove that it was
    deleted: it is lost. And for one that may have been billed and is held: it is abandoned. Repeating it does nothing;
    raise InvalidTransition for any other batch.
    """
    why = f"A person says that {batch.anthropic_id or 'what it made'} is not at Anthropic any more."
    if _mark_lost(batch, why, where=PROVEN_MISSING, by=by):
        return batch
    if batch.move(State.ABANDONED, allowed={State.HELD}, where=Q(may_have_been_billed=True) & NOT_BEING_IDENTIFIED):
        batch.log_event("abandoned", why, by=by)
        return batch
    if batch.state in {State.LOST, State.ABANDONED}:
        return batch
    why_not = obstacle(batch)
    raise batch.forbidden("declare lost", DECLARABLE, f"it {why_not}." if why_not else "")


def obstacle(batch: MessageBatch) -> str:
    """Return why a person cannot declare the batch lost; empty if possible."""
    if batch.state in RUNNING | FETCHING:
        long_ago = timezone.now() - MISSING_PERIOD  # approximate: the database's clock decides
        is_missing = batch.misses >= MISSES_UNTIL_GONE and batch.missed_at is not None and batch.missed_at <= long_ago
        return "" if is_missing else "was not yet missed three times over half an hour"
    if batch.state == State.HELD and batch.is_being_identified:
        return f"is being verified as {batch.identified_id}"
    return "" if batch.state == State.HELD and batch.may_have_been_billed else "has nothing to lose"


def is_past_results_deadline(batch: MessageBatch) -> bool:
    """Return whether Anthropic no longer keeps the results, by the database's clock."""
    rows = MessageBatch.objects.primary().filter(pk=batch.pk)
    made_at = Coalesce("created_at", "queued_at")
    return rows.alias(made_at=made_at).filter(made_at__lt=now_plus(-RESULTS_LAST)).exists()


def _is_absent(batch: MessageBatch, client: BatchesClient) -> bool:
    """Return whether a full listing of its Workspace lacks the batch; False if an error ends the listing."""
    try:
        for reply in list_pages(lambda after_id: list_page(client, batch.account, after_id), max_pages=MAX_PAGES):
            if not batch.workspace_id or reply.workspace_id != batch.workspace_id:
                return False
            for data in reply.data["data"]:
                created_at = moment(data["created_at"])
                if data["id"] == batch.anthropic_id:
                    return False
                if batch.created_at and created_at and created_at < batch.created_at:
                    return True
            if last_id(reply.data) is None:
                return True
    except ClaudeBatchesError as error:
        logger.warning("Batch %s: %s", batch.pk, error)
    return False
