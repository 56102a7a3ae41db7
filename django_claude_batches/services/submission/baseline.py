"""What Anthropic lists just before a create call: the call made none of it, and a search goes back to it.

The *baseline* is what was listed. Of it an attempt keeps the newest id (`baseline_id`), all that were made within the
margin before that one (`noted_ids`, which its call did not make), and the newest 20 (`anchors`): a later listing
has to show the newest of these that is still there.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django_claude_batches import conf, wire
from django_claude_batches.models import AccountState, SubmitAttempt
from django_claude_batches.services.listings.search import PageLister
from django_claude_batches.services.listings.windows import MARGIN, made_at
from django_claude_batches.services.submission.body_file import BodyDigest

MAX_ANCHORS = 20
MAX_PAGES = 5
MAX_CLOCK_LAG = timedelta(hours=1)
"""How far the database's clock may be behind the server's, which does not say what it shows."""

MAX_AHEAD = timedelta(days=2)
"""A batch that seems to have been made later than that is no sign of what the server's clock shows."""


@dataclass(frozen=True)
class Baseline:
    """What was listed, newest first, and the two clocks when it was."""

    batches: list[wire.MessageBatch]
    newest_at: datetime | None
    workspace_id: str
    server_at: datetime
    database_at: datetime

    @property
    def latest_server_at(self) -> datetime:
        """The latest that the server's clock may have shown: a batch that is listed was made before."""
        believable = self.server_at + MAX_AHEAD
        times = [at for _id, at in self.listed if at is not None and at <= believable]
        return max([self.server_at, *times])

    @property
    def listed(self) -> list[tuple[str, datetime | None]]:
        """The ids, and when each was made."""
        return [(data["id"], made_at(data)) for data in self.batches]

    @property
    def newest_id(self) -> str | None:
        return self.batches[0]["id"] if self.batches else None


def take_baseline(pages: PageLister) -> Baseline:
    """List the newest batches, back to those that were made 15 minutes before the newest of them."""
    database_at = AccountState.objects.primary().clock()
    reply = pages(limit=MAX_ANCHORS)
    server_at = max(reply.date or database_at + MAX_CLOCK_LAG, database_at)
    data = list(reply.data["data"])
    if reply.data["has_more"]:
        data += _older(pages, data, server_at)
    newest_at = _newest(data, server_at)
    return Baseline(data, newest_at, reply.workspace_id or "", server_at, database_at)


def _older(pages: PageLister, newest: list[wire.MessageBatch], server_at: datetime) -> list[wire.MessageBatch]:
    """List on, where all of the newest ones were made within the margin."""
    data = list(newest)
    for _page in range(MAX_PAGES):
        newest_at = _newest(data, server_at)
        if newest_at is None or any(_is_before(at, newest_at) for at in map(made_at, data)):
            break
        page = pages(after_id=data[-1]["id"]).data
        data += page["data"]
        if not page["has_more"] or not page["data"]:
            break
    return data[len(newest) :]


def _newest(data: list[wire.MessageBatch], server_at: datetime) -> datetime | None:
    """Give when the newest was made; what claims to come from the future says nothing."""
    times = [at for each in data if (at := made_at(each)) is not None and at <= server_at + MARGIN]
    return max(times, default=None)


def _is_before(at: datetime | None, newest_at: datetime) -> bool:
    return at is not None and at < newest_at - MARGIN


def store_baseline(attempt: SubmitAttempt, baseline: Baseline, written: BodyDigest) -> None:
    """Write it on the attempt."""
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
    """Give the last moment, by the server's clock, at which what was sent then can have become a batch."""
    waited = max(sent_at - baseline.database_at, timedelta(0))
    return baseline.latest_server_at + waited + quiet_period(attempt) + MARGIN


def quiet_period(attempt: SubmitAttempt) -> timedelta:
    """How long after `sent_at` the call can no longer be running, and what it made has had time to appear.

    A call that was made with longer settings than those of now is not searched for in less time.
    """
    return attempt.max_duration + conf.submit_quiet_period()
