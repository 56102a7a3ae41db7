"""Raise an alarm, once for each batch, shortly before it expires at Anthropic or its results are archived."""

from __future__ import annotations

from django.db.models import F, Q

from django_claude_batches.db.leases import DatabaseNow, now_plus
from django_claude_batches.models import MessageBatch
from django_claude_batches.models.batch.queryset import NEARS_ARCHIVING, NEARS_EXPIRY
from django_claude_batches.models.batch_state import FETCHING, RUNNING
from django_claude_batches.sanitize import get_logger
from django_claude_batches.services.announcements import send_signal
from django_claude_batches.signals import batch_failed

logger = get_logger(__name__)

ALARMS = (
    (RUNNING, NEARS_EXPIRY, "It has been running for 23 hours: what is not processed after 24 expires."),
    (FETCHING, NEARS_ARCHIVING, "Its results are not all stored, and can be fetched for 2 more days only."),
)


def raise_alarms(alias: str) -> int:
    """Raise an alarm once for each batch that nears a deadline; return the number of alarms."""
    said = 0
    for states, age, text in ALARMS:
        near = MessageBatch.objects.primary().filter(account=alias, state__in=states, created_at__lt=now_plus(-age))
        near = near.filter(announced_at__isnull=True)  # results that are fetched again are already stored
        unsaid = Q(alarmed_at__isnull=True) | Q(alarmed_at__lt=F("created_at") + age)
        for batch in near.filter(unsaid)[:100]:
            if MessageBatch.objects.primary().filter(unsaid, pk=batch.pk).update(alarmed_at=DatabaseNow()):
                batch.log_event("alarm", text)
                logger.error("Batch %s: %s", batch.pk, text)
                send_signal(batch_failed, batch)
                said += 1
    return said
