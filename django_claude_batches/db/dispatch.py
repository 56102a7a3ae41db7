"""Dispatch due rows: send a Celery message for each, less and less often while no worker takes them.

The interval between the messages for a row doubles while no worker takes one, up to 15 minutes: a day without workers
leaves about a hundred messages for each row. Messages have no `expires`, which compares the clocks of two machines, and
which django-celery-beat drops.
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

# Maximum of `dispatch_count`, a small integer. The longest interval is reached long before.
MAX_DISPATCHES = 100


class Dispatchable(Leased):
    """A row with a lease and a next action. When the action is due, a Celery message is sent.

    A worker that acquires the lease has to set `dispatched_at=None`. Otherwise the message counts as not taken, and the
    next one is sent late.
    """

    next_action_at = models.DateTimeField(_("next action at"), null=True, blank=True, db_index=True)
    dispatched_at = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text=_("When the last message was sent, if no worker has taken it yet."),
    )
    dispatch_count = models.PositiveSmallIntegerField(
        default=0, editable=False, help_text=_("Consecutive messages that no worker took since the row became due.")
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

        The rows are marked as dispatched. Until a worker takes a row, it is not dispatched again for `first_interval`,
        then for twice as long, and so on up to 15 minutes. If a row became due after its last message, only
        `first_interval` has to pass. At most `limit` rows are dispatched, in the order in which they became due, and
        none of `exclude`.

        With a `first_interval` of 0 (the in-process tick, which does the work itself), rows are neither marked nor left
        out because of a recent mark.
        """
        rows = self.due().primary().exclude(pk__in=exclude).order_by("next_action_at", "pk")
        if first_interval:
            rows = rows.exclude(_was_dispatched_lately(first_interval))
        pks = list(rows.values_list("pk", flat=True)[:limit])
        if first_interval:
            untaken = When(_last_message_was_not_taken(), then=Least(F("dispatch_count") + 1, MAX_DISPATCHES))
            # The order matters: in an UPDATE, MySQL and MariaDB read the values that earlier assignments have set.
            marks = {"dispatch_count": Case(untaken, default=1), "dispatched_at": DatabaseNow()}
            # Filter by key only, not by `rows`. If two ticks run at once, both may dispatch a row, or mark a row that
            # was just taken. That is harmless, because a task needs the lease.
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

    After any message, the first interval has to pass; after the n-th consecutive message that no worker took, the n-th.
    """
    intervals = dispatch_intervals(first_interval)
    lately = Q(dispatched_at__gt=now_plus(-first_interval))
    longer = [
        Q(dispatch_count__gte=count, dispatched_at__gt=now_plus(-interval))
        for count, interval in enumerate(intervals[1:], start=2)
    ]
    return lately | (_last_message_was_not_taken() & reduce(or_, longer, Q(pk__in=[])))


def dispatch_intervals(first_interval: timedelta) -> list[timedelta]:
    """Return the intervals after the first message, the second, and so on, up to the longest."""
    intervals = [first_interval]
    while timedelta(0) < intervals[-1] < MAX_DISPATCH_INTERVAL:
        intervals.append(min(intervals[-1] * 2, MAX_DISPATCH_INTERVAL))
    return intervals
