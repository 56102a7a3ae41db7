"""List one page, and store what may be a lost batch on it.

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
from django_claude_batches.models import OpenListing
from django_claude_batches.services.listings.candidates import (
    reset_listing_count,
    sent_and_unresolved,
    store_page_candidates,
)

# A process that has not stored an answer for so long has died: a task's time limit ends it before.
DEAD_AFTER = timedelta(hours=1)


def list_page(
    client: BatchesClient, alias: str, after_id: str | None = None, *, limit: int | None = None
) -> Reply[wire.Page]:
    """List one page, and store the batches on it that may be lost. Raise what the client raises.

    `limit` is the number of batches, by default the API's maximum.
    """
    opened = _create_open_listing(alias)
    reply = result_or_error(lambda: client.page(limit=limit or wire.MAX_PAGE, after_id=after_id))
    if isinstance(reply, ClaudeBatchesError):
        is_answered = isinstance(reply, APIStatusError | APIResponseValidationError) and reply.status_code >= 300
        _close_listing(alias, opened, is_kept=is_answered)
        raise reply
    store_page_candidates(alias, reply.data["data"], reply.workspace_id)
    _close_listing(alias, opened, is_kept=not reply.is_repeated)
    return reply


def all_answers_stored(alias: str, until: datetime | None) -> bool:
    """Whether the answers of all pages requested until then (None: until now) are stored.

    An answer whose process died will never be: then no earlier listing counts any more.
    """
    rows = OpenListing.objects.primary().filter(account=alias)
    rows = rows if until is None else rows.filter(begun_at__lte=until)
    dead = list(rows.filter(begun_at__lte=now_plus(-DEAD_AFTER)).values_list("pk", flat=True))
    for pk in dead:
        _close_listing(alias, pk, is_kept=False)
    return not dead and not rows.exists()


def _create_open_listing(alias: str) -> int | None:
    """Record that a page is requested, if a search is active."""
    if not sent_and_unresolved(alias).exists():
        return None
    return OpenListing.objects.primary().create(account=alias, begun_at=DatabaseNow()).pk


def _close_listing(alias: str, pk: int | None, *, is_kept: bool) -> None:
    if pk is None and is_kept:
        return
    rows = OpenListing.objects.primary()
    with transaction.atomic(using=rows.db):
        if not is_kept:
            reset_listing_count(sent_and_unresolved(alias))
        if pk is not None:
            rows.filter(pk=pk).delete()
