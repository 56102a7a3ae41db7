"""How long batches of an account take at Anthropic, from those that ended lately."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from statistics import median, quantiles

from django_claude_batches.models import MessageBatch

MOST = 200
"""Batches that it is drawn from: an index gives an account's last ones."""

FEWEST = 5
"""From fewer, nothing is said."""


@dataclass(frozen=True, slots=True)
class TurnRound:
    """Half of `count` batches ended within `usual`, 95 of 100 within `most`; both in whole minutes, rounded up."""

    usual: timedelta
    most: timedelta
    count: int


def turn_round(account: str) -> TurnRound | None:
    """Give it from creation to end, by Anthropic's clock, without batches that were canceled; one query."""
    ended = MessageBatch.objects.primary().filter(
        account=account, ended_at__isnull=False, created_at__isnull=False, cancel_initiated_at__isnull=True
    )
    times = ended.order_by("-ended_at").values_list("created_at", "ended_at")[:MOST]
    seconds = [(end - begin).total_seconds() for begin, end in times if begin is not None and end is not None]
    if len(seconds) < FEWEST:
        return None
    highest = quantiles(seconds, n=20, method="inclusive")[-1]
    return TurnRound(_minutes(median(seconds)), _minutes(highest), len(seconds))


def _minutes(seconds: float) -> timedelta:
    return timedelta(minutes=max(1, -int(-seconds // 60)))
