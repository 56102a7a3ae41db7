"""Select due rows for which a Celery message is sent, and space those messages out while no worker takes them.

No message has an `expires`: that compares the clocks of two machines, and django-celery-beat drops it. Instead, the
interval between messages for a row doubles while no worker takes them: a day without workers leaves about a hundred.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from functools import reduce
from operator import or_
from typing import Self, TypeVar

from django.db import models
from django.db.models import Case, F, Q, When
from django.db.models.functions import Least
from django.utils.translation import gettext_lazy as _

from django_claude_batches.db.leases import DatabaseNow, Leased, LeasedQuerySet, is_due, now_plus

_M_co = TypeVar("_M_co", bound=models.Model, covariant=True)

MAX_DISPATCH_INTERVAL = timedelta(minutes=15)

# Counting stops here. The longest interval is reached long before.
MAX_DISPATCHES = 100


class Dispatched(Leased):
    """A leased row with a due time, for which a message is sent. A worker acquires it with `dispatched_at=None`."""

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


class DispatchedQuerySet(LeasedQuerySet[_M_co]):
    def due(self) -> Self:
        """Match rows whose next action is due and which no worker has leased, by the database's clock."""
        return self.filter(is_due())

    def dispatch_due(self, rest: timedelta, *, limit: int | None = None, besides: Collection[int] = ()) -> list[int]:
        """Return the primary keys of the first due rows for which to send a message now, without `besides`.

        With a `rest` they are marked: until a worker takes a row, it is not returned again for that long, then for
        twice as long, up to 15 minutes. A row that became due after its message was sent waits for `rest` only.
        """
        rows = self.due().primary().exclude(pk__in=besides).order_by("next_action_at", "pk")
        if not rest:
            return list(rows.values_list("pk", flat=True)[:limit])
        pks = list(rows.exclude(_was_dispatched_lately(rest)).values_list("pk", flat=True)[:limit])
        again = When(_is_sent_again(), then=Least(F("dispatch_count") + 1, MAX_DISPATCHES))
        # In this order: in an UPDATE, MySQL and MariaDB read what an earlier assignment has changed.
        handed_out = {"dispatch_count": Case(again, default=1), "dispatched_at": DatabaseNow()}
        self.model._default_manager.using(rows.db).filter(pk__in=pks).update(**handed_out)
        return pks


def _is_sent_again() -> Q:
    """Match rows that were already due when their last message was sent, and that no worker took."""
    return Q(dispatched_at__isnull=False, next_action_at__lte=F("dispatched_at"))


def _was_dispatched_lately(rest: timedelta) -> Q:
    """Match rows whose last message is too recent for another one, by the database's clock."""
    rests = dispatch_intervals(rest)
    longer = [
        Q(dispatch_count__gte=count, dispatched_at__gt=now_plus(-rests[count - 1]))
        for count in range(2, len(rests) + 1)
    ]
    lately = Q(dispatched_at__gt=now_plus(-rest))
    return lately | (_is_sent_again() & reduce(or_, longer, lately))


def dispatch_intervals(rest: timedelta) -> list[timedelta]:
    """Return the first interval, the second, and so on up to the longest."""
    rests = [rest]
    while timedelta(0) < rests[-1] < MAX_DISPATCH_INTERVAL:
        rests.append(min(rests[-1] * 2, MAX_DISPATCH_INTERVAL))
    return rests
