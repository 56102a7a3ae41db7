from __future__ import annotations

from datetime import datetime, timedelta

from django.db import models
from django.db.models import Max, Q
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_claude_batches.db.dispatch import dispatch_intervals
from django_claude_batches.db.leases import DatabaseNow, Leased, LeasedQuerySet, now_plus
from django_claude_batches.models.fields import IdentifierField, StorableTextField

MAX_TICK_INTERVAL = timedelta(seconds=90)
"""Without a tick for this long while work is due, nothing is moving: three ticks were missed."""

SLOW_PERIOD = timedelta(minutes=10)
"""After a call that was too slow, so long one worker at a time works for the account."""

SLOW_PAUSE = timedelta(minutes=1)
"""After a call that was too slow, so long nothing is asked of the account's server."""


CREATE_LEASE = timedelta(seconds=90)
"""After the last sign of life of a create call, so long no other one of the account begins. Sending a piece of the body
or connecting may take a minute without one."""

MIN_TICK_INTERVAL = timedelta(seconds=20)
"""Less than the time between two ticks of beat, of which one may have waited for a while."""


class AccountStateQuerySet(LeasedQuerySet["AccountState"]):
    def paused(self) -> AccountStateQuerySet:
        """Those for which nothing is sent: until somebody resumes it, or until `paused_until`."""
        return self.filter(Q(paused_until__isnull=True) | Q(paused_until__gt=DatabaseNow()), paused_at__isnull=False)

    def ticking(self) -> AccountStateQuerySet:
        """Those that a tick looked after lately."""
        return self.filter(last_tick_at__gte=now_plus(-MAX_TICK_INTERVAL))

    def slow(self) -> AccountStateQuerySet:
        """Those of which a call was too slow lately."""
        return self.filter(slow_at__gte=now_plus(-SLOW_PERIOD), slow_at__lte=DatabaseNow())

    def cooling_down(self) -> AccountStateQuerySet:
        """Those of which a call was too slow a moment ago: their servers are asked nothing now."""
        return self.filter(slow_at__gte=now_plus(-SLOW_PAUSE), slow_at__lte=DatabaseNow())

    def is_turn(self, alias: str, field: str) -> bool:
        """Whether the account's time in `field` has come."""
        return not self.primary().filter(alias=alias, **{f"{field}__gt": DatabaseNow()}).exists()

    def take_turn(self, alias: str, field: str, interval: timedelta) -> bool:
        """Move the account's time in `field` (such as `next_audit_at`) if it has come; give whether we moved it.

        Of several processes one gets True, and does the work.
        """
        if not self.is_turn(alias, field):
            return False  # one statement, as for each message of a pile
        rows = self.primary()
        rows.get_or_create(alias=alias)
        is_due = Q(**{f"{field}__isnull": True}) | Q(**{f"{field}__lte": DatabaseNow()})
        return bool(rows.filter(is_due, alias=alias).update(**{field: now_plus(interval)}))

    def dispatch_poll(self, alias: str, rest: timedelta) -> bool:
        """Note that a message is sent to poll the account, unless the last one rests; return whether it noted it.

        The rests are those of rows that are handed out.
        """
        if not self.is_turn(alias, "next_poll_at"):
            return False
        rows, rests = self.primary(), dispatch_intervals(rest)
        count = rows.get_or_create(alias=alias)[0].poll_dispatch_count
        is_due = Q(next_poll_at__isnull=True) | Q(next_poll_at__lte=DatabaseNow())
        until = now_plus(rests[min(count, len(rests) - 1)])
        handed_out = rows.filter(is_due, alias=alias, poll_dispatch_count=count)
        return bool(handed_out.update(next_poll_at=until, poll_dispatch_count=min(count + 1, len(rests))))

    def begin_tick(self, alias: str) -> bool:
        """Note on the account's row that a tick begins, unless one began within 20 seconds; return whether it noted it.

        By the database's clock; where that was set back, no tick is too early. One that is too early costs one
        statement.
        """
        rows = self.primary()
        lately = Q(tick_began_at__gt=now_plus(-MIN_TICK_INTERVAL), tick_began_at__lte=DatabaseNow())
        if rows.filter(lately, alias=alias).exists():
            return False
        rows.get_or_create(alias=alias)
        began = {"tick_began_at": DatabaseNow(), "tick_clock_at": timezone.now()}
        return bool(rows.filter(alias=alias).exclude(lately).update(**began))

    def begin_create(self, alias: str, batch: int) -> bool:
        """Note that a create call begins, for the batch with this primary key, unless another one is being made."""
        self.primary().get_or_create(alias=alias)
        # More than a lease ahead, the database's clock was set back.
        is_over = Q(create_until__lt=DatabaseNow()) | Q(create_until__gt=now_plus(CREATE_LEASE))
        is_free = Q(create_until__isnull=True) | is_over | Q(create_batch=batch)
        begun = {"create_batch": batch, "create_until": now_plus(CREATE_LEASE)}
        return bool(self.primary().filter(is_free, alias=alias).update(**begun))

    def renew_create(self, alias: str, batch: int) -> None:
        """Note that the batch's create call is still being made."""
        self.primary().filter(alias=alias, create_batch=batch).update(create_until=now_plus(CREATE_LEASE))

    def end_create(self, alias: str, batch: int) -> None:
        """Note that the batch's create call is over."""
        self.primary().filter(alias=alias, create_batch=batch).update(create_batch=None, create_until=None)

    def clock(self) -> datetime:
        """Give the database's time. An aggregate over no row is one row, also where the table is empty."""
        now = Coalesce(Max("last_tick_at"), DatabaseNow(), output_field=models.DateTimeField())
        moment: datetime = self.filter(pk=0).aggregate(now=now)["now"]
        return moment


class AccountState(Leased):
    """What is known of an account of the settings: whether sending is paused, and when a tick last came by."""

    alias = IdentifierField(_("account"), max_length=64, unique=True)
    paused_at = models.DateTimeField(_("paused at"), null=True, blank=True)
    paused_until = models.DateTimeField(_("paused until"), null=True, blank=True)
    pause_reason = StorableTextField(_("why"), blank=True)
    installation = models.CharField(
        _("installation"), max_length=100, blank=True, default="", help_text=_("Whose batches the account's rows are.")
    )
    tick_began_at = models.DateTimeField(null=True, blank=True, editable=False)
    tick_clock_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text=_("The same by the clock of the worker's machine.")
    )
    next_watch_at = models.DateTimeField(null=True, blank=True, editable=False)
    next_audit_at = models.DateTimeField(null=True, blank=True, editable=False)
    next_purge_at = models.DateTimeField(null=True, blank=True, editable=False)
    audited_at = models.DateTimeField(_("last audit"), null=True, blank=True)
    audit_findings = models.PositiveIntegerField(
        _("findings"), default=0, help_text=_("Of the last audit: those that need a person.")
    )
    search_after_id = IdentifierField(
        max_length=128, blank=True, default="", editable=False, help_text=_("Where a search's listing may begin.")
    )
    search_after_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_tick_at = models.DateTimeField(_("last tick"), null=True, blank=True)
    next_poll_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text=_("Until then the message that was sent to poll it counts.")
    )
    slow_since = models.DateTimeField(
        _("slow since"), null=True, blank=True, help_text=_("Its server did not answer in time, again and again.")
    )
    slow_at = models.DateTimeField(
        _("slow at"), null=True, blank=True, help_text=_("When a call last ran into one of its time limits.")
    )
    poll_dispatch_count = models.PositiveSmallIntegerField(
        default=0, editable=False, help_text=_("Consecutive poll messages that no worker took.")
    )

    create_batch = models.BigIntegerField(
        null=True,
        blank=True,
        editable=False,
        help_text=_("The primary key of the batch whose create call is being made."),
    )
    create_until = models.DateTimeField(
        null=True, blank=True, editable=False, help_text=_("Until then no other create call of the account begins.")
    )

    objects = AccountStateQuerySet.as_manager()

    class Meta:
        verbose_name = _("account")
        verbose_name_plural = _("accounts")
        ordering = ["alias"]

    def __str__(self) -> str:
        return str(self.alias)

    def belongs_to_other_installation(self, installation: str) -> bool:
        """Whether the rows were another installation's than this; never without a name to compare."""
        return bool(installation and self.installation) and self.installation != installation
