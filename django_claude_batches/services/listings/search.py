"""Listing what an account has at Anthropic, back to before its create calls without an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from functools import cached_property

from django.utils.dateparse import parse_datetime

from django_claude_batches import wire
from django_claude_batches.client import Reply
from django_claude_batches.exceptions import APIResponseValidationError, APIStatusError
from django_claude_batches.models import AccountState, SubmitAttempt
from django_claude_batches.services.listings.windows import MARGIN, made_at

MAX_PAGES = 50
"""Pages of a thousand in one search; a search that would need more proves nothing."""

Anchor = tuple[str, datetime | None]
PageLister = Callable[..., Reply[wire.Page]]
"""`listings.page.list_page` of one account: lists the page after `after_id`."""


@dataclass(frozen=True)
class Listing:
    """The batches that were listed, newest first. `workspace_id` is the one that every page named, else empty."""

    batches: list[wire.MessageBatch]
    workspace_id: str
    is_end: bool

    @cached_property
    def times(self) -> list[datetime | None]:
        """When each of them was made."""
        return [made_at(data) for data in self.batches]

    @cached_property
    def ids(self) -> frozenset[str]:
        return frozenset(data["id"] for data in self.batches)

    def is_past(self, at: datetime | None) -> bool:
        """Whether it goes further back than a moment, and whatever the server's nodes are apart."""
        return self.is_end or (at is not None and _reaches(self.times, at))


def _reaches(times: Iterable[datetime | None], at: datetime) -> bool:
    # Twice: it may have been listed out of order, and have been made by a node whose clock is behind.
    return any(time is not None and time < at - 2 * MARGIN for time in times)


def list_back_to(pages: PageLister, to: datetime | None, *, after_id: str = "") -> Listing:
    """List the batches older than `after_id`, or all, back to that moment (None: to the end).

    A page's own last id is the way to the next one, whatever the server calls it.
    """
    found: dict[str, wire.MessageBatch] = {}
    workspaces: set[str] = set()
    cursor = after_id or None
    is_end = False
    for _page in range(MAX_PAGES):
        reply = pages(after_id=cursor)
        workspaces.add(reply.workspace_id or "")
        page = reply.data["data"]
        new = {data["id"]: data for data in page if data["id"] not in found}
        found |= new
        is_end = not reply.data["has_more"]
        if is_end or not new or (to is not None and _reaches(map(made_at, page), to)):
            break
        cursor = page[-1]["id"]
    return Listing(list(found.values()), workspaces.pop() if len(workspaces) == 1 else "", is_end)


def list_for_attempts(
    pages: PageLister,
    alias: str,
    attempts: list[SubmitAttempt],
    gone: frozenset[str],
    *,
    to_the_newest: bool = False,
) -> Listing:
    """Make the one listing that serves all these attempts.

    Where their windows are closed, it begins above the last of them, unless it is wanted `to_the_newest`.
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
            if attempts_without_anchor(listing, attempts, gone):  # what it began at may not be known any more
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
    """Keep the oldest batch that is surely above all windows: below it nothing newer is listed but by the margin."""
    newer = [
        (time, data["id"])
        for time, data in zip(listing.times, listing.batches, strict=True)
        if time is not None and time > above + 2 * MARGIN
    ]
    if newer:
        at, id_ = min(newer)
        AccountState.objects.primary().filter(alias=alias).update(search_after_id=id_, search_after_at=at)


def anchor_of(attempt: SubmitAttempt, gone: frozenset[str]) -> Anchor | None:
    """Give the newest batch before the call that is not known to be gone."""
    for id_, at in attempt.anchors:
        if id_ not in gone:
            return id_, None if at is None else parse_datetime(at)
    return None


def completeness(listing: Listing, attempt: SubmitAttempt, gone: frozenset[str]) -> tuple[Completeness, str]:
    """Say whether anything can be missing from the listing, and what speaks for it.

    It is full if it shows the newest batch before the call that is still there, and goes back past that one's margin.
    Where none is left, or there never was one, the end of the list in the same Workspace is needed.
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
    """Give the newest anchors that the listing lacks: one that still answers shows that the listing is stale."""
    found = ((anchor_of(attempt, gone), attempt) for attempt in attempts)
    return {anchor: attempt for anchor, attempt in found if anchor is not None and anchor[0] not in listing.ids}


class Completeness(Enum):
    """What a listing says of an attempt by what it does not show."""

    FULL = auto()
    PARTIAL = auto()
    """Something may be missing from it; another one may be full."""
    UNPROVABLE = auto()
    """No listing can be shown to be full any more."""
