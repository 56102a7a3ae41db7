"""The time window in which an unanswered create call may have made a batch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django_claude_batches import wire
from django_claude_batches.db.keyset import chunked
from django_claude_batches.db.leases import MAX_KEYS
from django_claude_batches.models import SubmitAttempt
from django_claude_batches.sanitize import moment

# Maximum difference between the clocks of the server's nodes, and so of the order in its listings.
MARGIN = timedelta(minutes=15)


@dataclass(frozen=True)
class Window:
    """The window of one attempt. `since` and `until` are by the server's clock; None is unbounded."""

    attempt: SubmitAttempt
    since: datetime | None
    until: datetime | None
    noted: frozenset[str]

    @classmethod
    def of(cls, attempt: SubmitAttempt) -> Window:
        since = attempt.baseline_created_at
        noted = frozenset([*attempt.noted_ids, str(attempt.baseline_id)])
        return cls(attempt, since and since - MARGIN, attempt.window_until, noted)

    def without_end(self) -> Window:
        return replace(self, until=None)

    def may_have_made(self, remote_id: str, created_at: datetime | None) -> bool:
        """Return whether the attempt may have made this batch, whatever its counts. True without a readable time."""
        if remote_id in self.noted:
            return False
        if created_at is None:
            return True
        return (self.since is None or created_at >= self.since) and (self.until is None or created_at <= self.until)


def made_at(data: wire.MessageBatch) -> datetime | None:
    """Return when the batch was created, in UTC; None for a time that no clock can have shown."""
    at = moment(data["created_at"])
    return at if at is not None and 2000 <= at.year < 9000 else None


def unowned(remote_ids: Iterable[str]) -> set[str]:
    """Return the ids that no attempt is known to have made."""
    ids = list(remote_ids)
    attempts = SubmitAttempt.objects.primary()
    owned: set[str | None] = set()
    for chunk in chunked(ids, MAX_KEYS):
        owned.update(attempts.filter(remote_id__in=chunk).values_list("remote_id", flat=True))
    return {id_ for id_ in ids if id_ not in owned}
