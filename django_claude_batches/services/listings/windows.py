"""When a batch must have been made, and what it must not be, for a create call without an answer to have made it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django_claude_batches import wire
from django_claude_batches.db.keyset import chunked
from django_claude_batches.db.leases import MAX_KEYS
from django_claude_batches.models import SubmitAttempt
from django_claude_batches.sanitize import moment

MARGIN = timedelta(minutes=15)
"""How far the clocks of the server's nodes, and so the order of its listings, may be apart."""


@dataclass(frozen=True)
class Window:
    """Of one attempt. `since` and `until` are by the server's clock; None is without end."""

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
        """Whether the attempt may have made this batch, whatever it counts. One without a readable time may be it."""
        if remote_id in self.noted:
            return False
        if created_at is None:
            return True
        return (self.since is None or created_at >= self.since) and (self.until is None or created_at <= self.until)


def made_at(data: wire.MessageBatch) -> datetime | None:
    """Give when it was made, in UTC; None for what no clock can have shown."""
    at = moment(data["created_at"])
    return at if at is not None and 2000 <= at.year < 9000 else None


def unowned(remote_ids: Iterable[str]) -> set[str]:
    """Leave out what an attempt is known to have made."""
    ids = list(remote_ids)
    attempts = SubmitAttempt.objects.primary()
    owned: set[str | None] = set()
    for chunk in chunked(ids, MAX_KEYS):
        owned.update(attempts.filter(remote_id__in=chunk).values_list("remote_id", flat=True))
    return {id_ for id_ in ids if id_ not in owned}
