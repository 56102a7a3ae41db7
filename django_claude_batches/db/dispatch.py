"""Select due rows for which a Celery message is sent, and space those messages out while no worker takes them.

No message has an `expires`: that compares the clocks of two machines, and django-celery-beat drops the setting.
Instead, the interval between messages for a row doubles while no worker takes them, up to 15 minutes: a day without
workers leaves about a hundred messages for each row.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import timedelta
from functools import reduce
from operator import or_
from typing import Self, TypeVar

from django.db import models
from django.db.models import Case, F, Q, When
from django.db.models.functions import Least
from django.utils.translation import gettext_lazy as _

from django_claude_batches.db.leases import DatabaseNow, Leased, LeasedQuerySet, is_free, now_plus

_M_co = TypeVar("_M_co", bound=models.Model, covariant=True)

MAX_DISPATCH_INTERVAL = timedelta(minutes=15)

# Counting stops here, so that the small integer does not overflow. The longest interval is reached long before.
MAX_DISPATCHES = 100


class Dispatchable(Leased):
    """A row with a lease and the time of its next action, for which a message is sent.

    A worker acquires it with `dispatched_at=None`: otherwise the row counts as not taken, and its next message is late.
    """

    next_action_at = models.DateTimeField(_("next action at"), null=True, blank=True, db_index=True)
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


class DispatchableQuerySet(LeasedQuerySet[_M_co]):
    def due(self) -> Self:
        """Match rows whose next action is due and which no worker has leased, by the database's clock."""
        return self.filter(is_due())

    def dispatch_due(
        self,
        dispatch: Callable[[int], object],
        first_interval: timedelta,
        *,
        limit: int | None = None,
        exclude: Collection[int] = (),
    ) -> list[int]:
        """Call `dispatch` with the primary key of each due row for which to send a message now; return these keys.

        They are marked: until a worker takes a row, it is not dispatched again for `first_interval`, then for twice as
        long, up to 15 minutes. A row that became due after its last message waits for `first_interval` only. At most
        `limit` rows are dispatched, the first due ones, and none of `exclude`.

        With a `first_interval` of 0 (the in-process tick, which does the work itself) nothing is marked, and rows that
        were marked lately are dispatched too.
        """
        rows = self.due().primary().exclude(pk__in=exclude).order_by("next_action_at", "pk")
        if first_interval:
            rows = rows.exclude(_was_dispatched_lately(first_interval))
        pks = list(rows.values_list("pk", flat=True)[:limit])
        if first_interval:
            untaken = When(_last_message_was_not_taken(), then=Least(F("dispatch_count") + 1, MAX_DISPATCHES))
            # In this order: MySQL and MariaDB read what an earlier assignment has changed.
            marks = {"dispatch_count": Case(untaken, default=1), "dispatched_at": DatabaseNow()}
            # By key alone, not by `rows`. Two ticks may return a row twice, and mark one that was just taken: this is
            # harmless, as a task needs the lease.
            self.model._default_manager.using(rows.db).filter(pk__in=pks).update(**marks)
        for pk in pks:
            dispatch(pk)
        return pks


def is_due() -> Q:
    """Match rows whose next action is due and which have no valid lease."""
    return is_free() & Q(next_action_at__lte=DatabaseNow())


def _last_message_was_not_taken() -> Q:
    """Match rows that were already due when their last message was sent, and that no worker took."""
    return Q(dispatched_at__isnull=False, next_action_at__lte=F("dispatched_at"))


def _was_dispatched_lately(first_interval: timedelta) -> Q:
    """Match rows whose last message is too recent for another one, by the database's clock.

    That is within the first interval of any message, and within the n-th of the n-th in a row that was not taken.
    """
    intervals = dispatch_intervals(first_interval)
    lately = Q(dispatched_at__gt=now_plus(-first_interval))
    longer = [
        Q(dispatch_count__gte=count, dispatched_at__gt=now_plus(-interval))
        for count, interval in enumerate(intervals[1:], start=2)
    ]
    return lately | (_last_message_was_not_taken() & reduce(or_, longer, Q(pk__in=[])))


def dispatch_intervals(first_interval: timedelta) -> list[timedelta]:
    """Return the first interval, the second, and so on up to the longest."""
    intervals = [first_interval]
    while timedelta(0) < intervals[-1] < MAX_DISPATCH_INTERVAL:
        intervals.append(min(intervals[-1] * 2, MAX_DISPATCH_INTERVAL))
    return intervals
