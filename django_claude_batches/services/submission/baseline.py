"""What Anthropic lists just before a create call: the call made none of it, and a search goes back to it.

The *baseline* is what was listed. Of it an attempt keeps the newest id (`baseline_id`), all that were made within the
margin before that one (`noted_ids`, which its call did not make), and the newest 20 (`anchors`): a later listing
has to show the newest of these that is still there.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django_claude_batches import conf, wire
from django_claude_batches.client.paging import last_listed_id, list_pages
from django_claude_batches.models import AccountState, SubmitAttempt
from django_claude_batches.services.listings.search import PageLister
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
    """The listed batches, newest first, and both clocks at that time."""

    batches: list[wire.MessageBatch]
    newest_at: datetime | None
    workspace_id: str
    server_at: datetime
    database_at: datetime

    @property
    def latest_server_at(self) -> datetime:
        """Return the latest time that the server's clock may have shown: listed batches were created before."""
        believable = self.server_at + MAX_AHEAD
        times = [at for _id, at in self.listed if at is not None and at <= believable]
        return max([self.server_at, *times])

    @property
    def listed(self) -> list[tuple[str, datetime | None]]:
        """Return the ids, and when each was created."""
        return [(data["id"], made_at(data)) for data in self.batches]

    @property
    def newest_id(self) -> str | None:
        return self.batches[0]["id"] if self.batches else None


def take_baseline(pages: PageLister) -> Baseline:
    """List the newest batches, back to those created 15 minutes before the newest of them."""
    database_at = AccountState.objects.primary().clock()
    listed = list_pages(
        lambda after_id: pages(after_id) if after_id else pages(limit=MAX_ANCHORS),
        next_cursor=last_listed_id,
        max_pages=1 + MAX_MORE_PAGES,
    )
    first = next(listed)
    server_at = max(first.date or database_at + MAX_CLOCK_LAG, database_at)
    data = list(first.data["data"])
    while (newest_at := _newest(data, server_at)) is not None and not any(
        _is_before(at, newest_at) for at in map(made_at, data)
    ):
        if (reply := next(listed, None)) is None:
            break
        data += reply.data["data"]
    return Baseline(data, newest_at, first.workspace_id or "", server_at, database_at)


def _newest(data: list[wire.MessageBatch], server_at: datetime) -> datetime | None:
    """Return when the newest batch was created; times in the future are ignored."""
    times = [at for each in data if (at := made_at(each)) is not None and at <= server_at + MARGIN]
    return max(times, default=None)


def _is_before(at: datetime | None, newest_at: datetime) -> bool:
    return at is not None and at < newest_at - MARGIN


def store_baseline(attempt: SubmitAttempt, baseline: Baseline, written: BodyDigest) -> None:
    """Store the baseline on the attempt."""
    newest_at = baseline.newest_at
    noted = [id_ for id_, at in baseline.listed if newest_at is None or not _is_before(at, newest_at)]
    attempt.workspace_id = baseline.workspace_id or attempt.workspace_id
    SubmitAttempt.objects.primary().filter(pk=attempt.pk).update(
        workspace_id=attempt.workspace_id,
        baseline_id=baseline.newest_id,
        baseline_created_at=newest_at,
        anchors=[[id_, at.isoformat() if at else None] for id_, at in baseline.listed[:MAX_ANCHORS]],
        noted_ids=noted,
        body_bytes=written.size,
        body_sha256=written.sha256,
    )


def window_until(attempt: SubmitAttempt, baseline: Baseline, sent_at: datetime) -> datetime:
    """Return the last moment, by the server's clock, at which a call sent then can have made a batch."""
    waited = max(sent_at - baseline.database_at, timedelta(0))
    return baseline.latest_server_at + waited + quiet_period(attempt) + MARGIN


def quiet_period(attempt: SubmitAttempt) -> timedelta:
    """Return how long after `sent_at` the call may still be running, and its batch may not yet be listed.

    A call made with longer settings than the current ones is searched for with the longer ones.
    """
    return attempt.max_duration + conf.submit_quiet_period()
