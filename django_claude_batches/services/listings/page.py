"""Request a listing page by page, and record each page that may have shown an unconfirmed batch.

A batch may be absent from one listing although it exists, but not from two successive ones. So two listings without a
candidate prove something only if the answer of each listing between them was stored.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction

from django_claude_batches import wire
from django_claude_batches.client import BatchesClient, Reply
from django_claude_batches.db.leases import DatabaseNow, now_plus
from django_claude_batches.exceptions import (
    APIResponseValidationError,
    APIStatusError,
    ClaudeBatchesError,
    result_or_error,
)
from django_claude_batches.models import OpenListing, SubmitAttempt
from django_claude_batches.services.listings.candidates import remember_page

# A process that has not stored an answer for so long has died: a task's time limit ends it before.
DEAD_AFTER = timedelta(hours=1)


def list_page(
    client: BatchesClient, alias: str, after_id: str | None = None, *, limit: int | None = None
) -> Reply[wire.Page]:
    """Request one page, and store the candidates that it shows. Sends HTTP and commits. Raise what the client raises.

    `limit` is the number of batches, by default the API's maximum.
    """
    opened = _create_open_listing(alias)
    reply = result_or_error(lambda: client.page(limit=limit or wire.MAX_PAGE, after_id=after_id))
    if isinstance(reply, ClaudeBatchesError):
        is_answered = isinstance(reply, APIStatusError | APIResponseValidationError) and reply.status_code >= 300
        _close_listing(alias, opened, is_kept=is_answered)
        raise reply
    remember_page(alias, reply.data["data"], reply.workspace_id)
    _close_listing(alias, opened, is_kept=not reply.is_repeated)
    return reply


def no_answer_is_missing(alias: str, until: datetime | None) -> bool:
    """Return whether the answers of all pages requested until then (None: until now) are stored.

    The answer of a process that died never is: then the listing counts of the account's attempts are reset to 0.
    """
    rows = OpenListing.objects.primary().filter(account=alias)
    rows = rows if until is None else rows.filter(begun_at__lte=until)
    dead = list(rows.filter(begun_at__lte=now_plus(-DEAD_AFTER)).values_list("pk", flat=True))
    for pk in dead:
        _close_listing(alias, pk, is_kept=False)
    return not dead and not rows.exists()


def _create_open_listing(alias: str) -> int | None:
    """Record that a page is requested, if a search is active."""
    if not SubmitAttempt.objects.primary().sent_and_unresolved(alias).exists():
        return None
    return OpenListing.objects.primary().create(account=alias, begun_at=DatabaseNow()).pk


def _close_listing(alias: str, pk: int | None, *, is_kept: bool) -> None:
    if pk is None and is_kept:
        return
    rows = OpenListing.objects.primary()
    with transaction.atomic(using=rows.db):
        if not is_kept:
            SubmitAttempt.objects.primary().sent_and_unresolved(alias).reset_listing_count()
        if pk is not None:
            rows.filter(pk=pk).delete()
