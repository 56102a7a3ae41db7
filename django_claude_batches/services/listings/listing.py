"""Iterate over all of an account's batches at Anthropic, one page in memory at a time."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from django_claude_batches import wire
from django_claude_batches.client import BatchesClient
from django_claude_batches.client.paging import last_id, list_pages
from django_claude_batches.services.listings.page import list_page
from django_claude_batches.services.mirror import moment


@dataclass(frozen=True, slots=True)
class ListingPage:
    """One page of a listing, with the time that it covers: batches created after `older` and up to `newer`.

    None is unbounded. Batches created at `newer` itself may be on the page before, whose ids are `before`.
    """

    batches: dict[str, wire.MessageBatch]
    before: frozenset[str]
    newer: datetime | None
    older: datetime | None
    is_last: bool
    workspace_id: str


def listing_pages(client: BatchesClient, alias: str, *, budget: timedelta = timedelta.max) -> Iterator[ListingPage]:
    """Yield all pages that the account lists, newest first; the last one says so, unless the budget ended it."""
    give_up_at = time.monotonic() + budget.total_seconds()
    before: frozenset[str] = frozenset()
    newer: datetime | None = None
    for reply in list_pages(lambda after_id: list_page(client, alias, after_id)):
        batches = {data["id"]: data for data in reply.data["data"]}
        is_last = last_id(reply.data) is None
        older = None if is_last else _oldest(batches.values(), newer)
        yield ListingPage(batches, before, newer, older, is_last, reply.workspace_id or "")
        if time.monotonic() > give_up_at:
            return
        newer, before = older, frozenset(batches)


def _oldest(batches: Iterable[wire.MessageBatch], newer: datetime | None) -> datetime:
    """Return when the oldest batch was created; if no time can be read, a time that makes the covered span empty."""
    times = [at for data in batches if (at := moment(data["created_at"])) is not None]
    return min(times, default=newer or timezone.now())
