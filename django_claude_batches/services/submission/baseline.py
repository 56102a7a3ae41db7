"""What Anthropic lists just before a create call, so that none of it can come from the call. A search goes back to it.

The *baseline* is what was listed. Of it an attempt keeps the newest id (`baseline_id`), all that were made within the
margin before that one (`noted_ids`, which its call did not make), and the newest 20 (`anchors`): a later listing
has to show the newest of these that is still there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django_claude_batches import conf, wire
from django_claude_batches.client import BatchesClient, Reply
from django_claude_batches.client.paging import last_listed_id, list_pages
from django_claude_batches.models import AccountState, MessageBatch, SubmitAttempt
from django_claude_batches.services.listings.page import list_page
from django_claude_batches.services.listings.windows import MARGIN, made_at
from django_claude_batches.services.submission.body_file import BodyDigest

MAX_ANCHORS = 20
MAX_MORE_PAGES = 5
# How far the database's clock may be behind the server's, which no answer states.
MAX_CLOCK_LAG = timedelta(hours=1)

# A batch that seems to have been created later than this says nothing about the server's clock.
MAX_AHEAD = timedelta(days=2)


@dataclass(frozen=True)
class Baseline:
    """The listed batches with the times when they were created, newest first.

    `listed_at` is by the database's clock. A call that is sent at a moment by that clock, not before `listed_at`, made
    no batch later than `window_length` after it by the server's clock.
    """

    listed: list[tuple[str, datetime | None]]
    newest_at: datetime | None
    workspace_id: str
    listed_at: datetime
    window_length: timedelta


def record_baseline(
    client: BatchesClient, batch: MessageBatch, attempt: SubmitAttempt, body: BodyDigest, renew: Callable[[], object]
) -> Baseline:
    """List the newest batches, and store them, with the body's size and hash, on the attempt.

    Raise what the client raises. `renew` is called before each page.
    """

    def page(after_id: str | None) -> Reply[wire.Page]:
        renew()
        return list_page(client, batch.account, after_id, limit=None if after_id else MAX_ANCHORS)

    baseline = _take_baseline(page, attempt)
    _store_baseline(attempt, baseline, body)
    return baseline


def _take_baseline(page: Callable[[str | None], Reply[wire.Page]], attempt: SubmitAttempt) -> Baseline:
    """List the newest batches, back to those created 15 minutes before the newest of them."""
    listed_at = AccountState.objects.primary().clock()
    pages = list_pages(page, next_cursor=last_listed_id, max_pages=1 + MAX_MORE_PAGES)
    first = next(pages)
    server_at = max(first.date or listed_at + MAX_CLOCK_LAG, listed_at)
    listed = _listed(first)
    while (newest_at := _newest(listed, server_at)) is not None and not any(
        _is_before(at, newest_at) for _id, at in listed
    ):
        if (reply := next(pages, None)) is None:
            break
        listed += _listed(reply)
    # The server's clock may be ahead of `server_at`: what is listed was created before.
    latest = max([server_at, *(at for _id, at in listed if at is not None and at <= server_at + MAX_AHEAD)])
    window_length = latest - listed_at + quiet_period(attempt) + MARGIN
    return Baseline(listed, newest_at, first.workspace_id or "", listed_at, window_length)


def _listed(reply: Reply[wire.Page]) -> list[tuple[str, datetime | None]]:
    return [(data["id"], made_at(data)) for data in reply.data["data"]]


def _newest(listed: list[tuple[str, datetime | None]], server_at: datetime) -> datetime | None:
    """Return when the newest batch was created; times in the future are ignored."""
    return max((at for _id, at in listed if at is not None and at <= server_at + MARGIN), default=None)


def _is_before(at: datetime | None, newest_at: datetime) -> bool:
    return at is not None and at < newest_at - MARGIN


def _store_baseline(attempt: SubmitAttempt, baseline: Baseline, body: BodyDigest) -> None:
    listed, newest_at = baseline.listed, baseline.newest_at
    attempt.workspace_id = baseline.workspace_id or attempt.workspace_id
    SubmitAttempt.objects.primary().filter(pk=attempt.pk).update(
        workspace_id=attempt.workspace_id,
        baseline_id=listed[0][0] if listed else None,
        baseline_created_at=newest_at,
        anchors=[[id_, at.isoformat() if at else None] for id_, at in listed[:MAX_ANCHORS]],
        noted_ids=[id_ for id_, at in listed if newest_at is None or not _is_before(at, newest_at)],
        body_bytes=body.size,
        body_sha256=body.sha256,
    )


def quiet_period(attempt: SubmitAttempt) -> timedelta:
    """Return how long after `sent_at` the call may still be running, and its batch may not yet be listed.

    How long the call may run is what the settings said when it was made; the rest is SUBMIT_QUIET_PERIOD as it is now.
    """
    return attempt.max_duration + conf.submit_quiet_period()
