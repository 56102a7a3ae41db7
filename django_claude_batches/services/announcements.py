"""Send the signals of `signals.py` after commit, and retry `results_ingested` while a receiver raises."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Case, F, Q, When
from django.dispatch import Signal

from django_claude_batches import conf
from django_claude_batches.db.leases import DatabaseNow
from django_claude_batches.error_text import format_with_traceback, join_errors, public_part
from django_claude_batches.models import MessageBatch, State
from django_claude_batches.sanitize import get_logger
from django_claude_batches.services.backoff import backoff
from django_claude_batches.signals import results_ingested

logger = get_logger(__name__)

# Longer than a task may run, so that no second process calls receivers while the first one still does.
RECEIVERS_LEASE = timedelta(minutes=65)

RESULT_BODIES_PRESENT = Q(result_purge_began_at__isnull=True)


def send_signal(signal: Signal, batch: MessageBatch) -> list[str]:
    """Call all receivers, and return the error messages of those that raised."""
    errors = []
    try:
        responses: list[tuple[Any, Any]] = signal.send_robust(sender=MessageBatch, batch=batch)
    except AttributeError as error:  # Django's own: it cannot name a receiver that raised and is a `partial`
        responses = [(signal, error)]
    for receiver, response in responses:
        if isinstance(response, Exception):
            name = f"{receiver.__module__}.{getattr(receiver, '__qualname__', type(receiver).__qualname__)}"
            errors.append(f"{name} raised {format_with_traceback(response)}")
            logger.error("Batch %s: %s", batch.pk, public_part(errors[-1]), exc_info=response)
    return errors


def announce(batch: MessageBatch, token: str) -> bool:
    """Send `results_ingested` until no receiver raises, at most ANNOUNCE_ATTEMPTS times.

    At least once: if the process dies after the receivers ran and before that is recorded, they are called again.
    """
    if not MessageBatch.objects.primary().renew(batch.pk, token, RECEIVERS_LEASE):
        return False
    errors = send_signal(results_ingested, batch)
    last_try = batch.tries + 1 >= conf.announce_attempts()
    if errors and not last_try:
        batch.reschedule(backoff(batch.tries), token=token, error=join_errors(errors), tries=batch.tries + 1)
        return False
    # Deletion may have been requested while the receivers ran: our copy of the row lacks that.
    unfulfilled = When(delete_requested_at__isnull=False, remote_deleted_at__isnull=True, then=DatabaseNow())
    with transaction.atomic(using=MessageBatch.objects.primary().db, durable=True):
        announced = batch.move(
            State.INGESTED,
            allowed={State.INGESTED},
            token=token,
            next_action_at=Case(unfulfilled, default=None),
            announced_at=DatabaseNow(),
            last_error=join_errors([batch.missing_reason, *errors]),
        )
        if announced:
            batch.log_event("announcing_failed" if errors else "announced", join_errors(errors))
    return announced


def announce_again(batch: MessageBatch, *, by: object = None) -> MessageBatch:
    """Send `results_ingested` again for a complete batch, after its receivers were fixed.

    Raise InvalidTransition for any other batch, and for one whose answers were purged: receivers would store empty
    ones.
    """
    anew: dict[str, Any] = {"announced_at": None, "tries": 0, "last_error": F("missing_reason")}
    if not batch.record_intent({State.INGESTED}, where=RESULT_BODIES_PRESENT, **anew):
        purged = f"its answers are gone. {batch.result_purge_note}" if batch.result_purge_note else ""
        raise batch.forbidden("announce", {State.INGESTED}, purged)
    batch.log_event("announce_requested", by=by)
    return batch
