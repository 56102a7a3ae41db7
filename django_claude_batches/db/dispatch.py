"""Rows for which a Celery message is sent when they are due, and how long a message waits to be taken.

No message has an `expires`: that compares the clocks of two machines, and django-celery-beat drops it. Instead the
interval between the messages for a row doubles while no worker takes them: a day without workers leaves about a hundred
for each row.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from functools import reduce
from operator import or_
from typing import TypeVar

from django.db import models
from django.db.models import Case, F, Q, When
from django.db.models.functions import Least
from django.utils.translation import gettext_lazy as _

from django_claude_batches.db.leases import DatabaseNow, Leased, LeasedQuerySet, now_plus

_M_co = TypeVar("_M_co", bound=models.Model, covariant=True)

MAX_DISPATCH_INTERVAL = timedelta(minutes=15)

MAX_DISPATCHES = 100
"""Counted at most: long before, the rest is the longest."""


class Dispatched(Leased):
    """A row that is handed out. Who takes the message claims the row with `dispatched_at=None`."""

    dispatched_at = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text=_("When a message was sent that no worker has taken yet."),
    )
    dispatch_count = models.PositiveSmallIntegerField(
        default=0, editable=False, help_text=_("Consecutive messages that no worker took since it became due.")
    )

    class Meta(Leased.Meta):
        abstract = True


class DispatchedQuerySet(LeasedQuerySet[_M_co]):
    def _dispatch_due(self, limit: int | None, rest: timedelta, *, besides: Collection[int] = ()) -> list[int]:
        """Give the primary keys of the first of these rows, which are due, without those that rest, and `besides`.

        With a `rest` these are marked: each rests for so long, twice as long the next time, 15 minutes at most, unless
        it is taken. One that became due after its message was sent rests for `rest` only.
        """
        rows = self.primary().exclude(pk__in=besides).order_by("next_action_at", "pk")
        if not rest:
            return list(rows.values_list("pk", flat=True)[:limit])
        pks = list(rows.exclude(_was_dispatched_lately(rest)).values_list("pk", flat=True)[:limit])
        again = When(_is_sent_again(), then=Least(F("dispatch_count") + 1, MAX_DISPATCHES))
        # In this order: MySQL and MariaDB read what an earlier assignment has changed.
        handed_out = {"dispatch_count": Case(again, default=1), "dispatched_at": DatabaseNow()}
        self.model._default_manager.using(rows.db).filter(pk__in=pks).update(**handed_out)
        return pks


def _is_sent_again() -> Q:
    """Match rows that were due already when their last message was sent, which no worker took."""
    return Q(dispatched_at__isnull=False, next_action_at__lte=F("dispatched_at"))


def _was_dispatched_lately(rest: timedelta) -> Q:
    """Match rows whose message was sent too lately for another one: by the database's clock."""
    rests = dispatch_intervals(rest)
    longer = [
        Q(dispatch_count__gte=count, dispatched_at__gt=now_plus(-rests[count - 1]))
        for count in range(2, len(rests) + 1)
    ]
    lately = Q(dispatched_at__gt=now_plus(-rest))
    return lately | (_is_sent_again() & reduce(or_, longer, lately))


def dispatch_intervals(rest: timedelta) -> list[timedelta]:
    """Give the first rest, the second, and so on up to the longest."""
    rests = [rest]
    while timedelta(0) < rests[-1] < MAX_DISPATCH_INTERVAL:
        rests.append(min(rests[-1] * 2, MAX_DISPATCH_INTERVAL))
    return rests
