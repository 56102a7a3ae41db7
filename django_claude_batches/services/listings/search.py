"""List an account's batches back to before its unanswered create calls, and tell whether that listing is complete."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from functools import cached_property

from django.utils.dateparse import parse_datetime

from django_claude_batches import wire
from django_claude_batches.client import Reply
from django_claude_batches.client.paging import last_listed_id, list_pages
from django_claude_batches.exceptions import APIResponseValidationError, APIStatusError
from django_claude_batches.models import AccountState, SubmitAttempt
from django_claude_batches.services.listings.windows import MARGIN, made_at

# Pages of a thousand in one search; a search that would need more proves nothing.
MAX_PAGES = 50

Anchor = tuple[str, datetime | None]
# `listings.page.list_page` of one account: lists the page after `after_id`.
PageLister = Callable[..., Reply[wire.Page]]


@dataclass(frozen=True)
class Listing:
    """The listed batches, newest first. `workspace_id` is the one that every page named, else empty."""

    batches: list[wire.MessageBatch]
    workspace_id: str
    is_end: bool

    @cached_property
    def times(self) -> list[datetime | None]:
        """Return when each of them was created."""
        return [made_at(data) for data in self.batches]

    @cached_property
    def ids(self) -> frozenset[str]:
        return frozenset(data["id"] for data in self.batches)

    def is_past(self, at: datetime | None) -> bool:
        """Return whether the listing goes back beyond this moment, with a margin for the server's clocks."""
        return self.is_end or (at is not None and _reaches(self.times, at))


def _reaches(times: Iterable[datetime | None], at: datetime) -> bool:
    # Twice: the batch may be listed out of order, and its node's clock may be behind.
    return any(time is not None and time < at - 2 * MARGIN for time in times)


def list_back_to(pages: PageLister, to: datetime | None, *, after_id: str = "") -> Listing:
    """List the batches older than `after_id`, or all, back to that moment (None: to the end).

    The next page is requested by the last id of a page, whatever cursor the server returns.
    """
    found: dict[str, wire.MessageBatch] = {}
    workspaces: set[str] = set()
    is_end = False
    for reply in list_pages(pages, after_id or None, next_cursor=last_listed_id, max_pages=MAX_PAGES):
        workspaces.add(reply.workspace_id or "")
        page = reply.data["data"]
        new = {data["id"]: data for data in page if data["id"] not in found}
        found |= new
        is_end = not reply.data["has_more"]
        if not new or (to is not None and _reaches(map(made_at, page), to)):
            break
    return Listing(list(found.values()), workspaces.pop() if len(workspaces) == 1 else "", is_end)


def list_for_attempts(
    pages: PageLister,
    alias: str,
    attempts: list[SubmitAttempt],
    gone: frozenset[str],
    *,
    to_the_newest: bool = False,
) -> Listing:
    """List the batches for all these attempts, in one listing.

    If their windows are closed, it begins above the last of them, unless `to_the_newest`.
    """
    remaining = [anchor_of(attempt, gone) for attempt in attempts]
    times = [anchor[1] for anchor in remaining if anchor is not None and anchor[1] is not None]
    to = min(times) if len(times) == len(attempts) else None
    ends = [attempt.window_until for attempt in attempts if attempt.window_until is not None]
    above = max(ends) if len(ends) == len(attempts) and not to_the_newest else None
    after_id = _cursor(alias, above) if to is not None else ""  # an unknown cursor may look like the end of the list
    listing = None
    if after_id:
        try:
            listing = list_back_to(pages, to, after_id=after_id)
            if attempts_without_anchor(listing, attempts, gone):  # the cursor may be unknown by now
                listing = None
        except (APIStatusError, APIResponseValidationError):  # it may have been deleted
            after_id = ""
    if listing is None:
        listing = list_back_to(pages, to)
    if above is not None:
        _keep_cursor(alias, listing, above)
    return listing


def _cursor(alias: str, above: datetime | None) -> str:
    state = AccountState.objects.primary().filter(alias=alias).first()
    if state is None or above is None or state.search_after_at is None or state.search_after_at <= above + 2 * MARGIN:
        return ""
    return str(state.search_after_id)


def _keep_cursor(alias: str, listing: Listing, above: datetime) -> None:
    """Store the oldest batch that is newer than all windows by the margin: nothing newer is listed below it."""
    newer = [
        (time, data["id"])
        for time, data in zip(listing.times, listing.batches, strict=True)
        if time is not None and time > above + 2 * MARGIN
    ]
    if newer:
        at, id_ = min(newer)
        AccountState.objects.primary().filter(alias=alias).update(search_after_id=id_, search_after_at=at)


def anchor_of(attempt: SubmitAttempt, gone: frozenset[str]) -> Anchor | None:
    """Return the newest batch before the call that is not known to be gone."""
    for id_, at in attempt.anchors:
        if id_ not in gone:
            return id_, None if at is None else parse_datetime(at)
    return None


def completeness(listing: Listing, attempt: SubmitAttempt, gone: frozenset[str]) -> tuple[Completeness, str]:
    """Return whether the listing is full for an attempt, and the reason.

    It is full if it shows the newest batch before the call that still exists, and goes back beyond that one's margin.
    If there is no such batch, the end of the list in the same Workspace is needed.
    """
    anchor = anchor_of(attempt, gone)
    if anchor is not None:
        if anchor[0] not in listing.ids:
            return Completeness.PARTIAL, f"the listing does not show {anchor[0]}, which was there before the call"
        if listing.is_past(anchor[1]):
            return Completeness.FULL, ""
        return Completeness.PARTIAL, "the listing does not go back far enough"
    if not listing.is_end:
        return Completeness.PARTIAL, "the listing does not go back to its end"
    if not attempt.workspace_id:
        return Completeness.UNPROVABLE, "the listing may be of another Workspace than it was sent to"
    if listing.workspace_id != attempt.workspace_id:
        return Completeness.PARTIAL, "the listing is of another Workspace than it was sent to"
    return Completeness.FULL, ""


def attempts_without_anchor(
    listing: Listing, attempts: Iterable[SubmitAttempt], gone: frozenset[str]
) -> dict[Anchor, SubmitAttempt]:
    """Return the newest anchors that the listing lacks: one that can still be retrieved proves the listing stale."""
    found = ((anchor_of(attempt, gone), attempt) for attempt in attempts)
    return {anchor: attempt for anchor, attempt in found if anchor is not None and anchor[0] not in listing.ids}


class Completeness(Enum):
    """What the absence of a batch from a listing proves about an attempt."""

    FULL = auto()
    # Batches may be missing from it; another listing may be full.
    PARTIAL = auto()
    # No listing can be proved to be full any more.
    UNPROVABLE = auto()
