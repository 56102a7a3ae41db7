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

# While work is due, a tick is overdue after this long: three ticks were missed.
MAX_TICK_INTERVAL = timedelta(seconds=90)

# For this long after a slow call, one worker at a time works for the account.
SLOW_PERIOD = timedelta(minutes=10)

# For this long after a slow call, no call is made to the account's server.
SLOW_PAUSE = timedelta(minutes=1)

# An account's next create call does not begin until the running one has not renewed its lease for this long.
# Connecting, or sending one block of the body, may take a minute without renewing it.
CREATE_LEASE = timedelta(seconds=90)

# Shorter than the interval of beat's ticks, because a tick may have been delayed in the queue.
MIN_TICK_INTERVAL = timedelta(seconds=20)


def _is_past(field: str) -> Q:
    return Q(**{f"{field}__isnull": True}) | Q(**{f"{field}__lte": DatabaseNow()})


class AccountStateQuerySet(LeasedQuerySet["AccountState"]):
    def paused(self) -> AccountStateQuerySet:
        """Match accounts for which nothing is sent until a person resumes them, or until `paused_until`."""
        return self.filter(Q(paused_until__isnull=True) | Q(paused_until__gt=DatabaseNow()), paused_at__isnull=False)

    def ticking(self) -> AccountStateQuerySet:
        """Match accounts with a recent tick."""
        return self.filter(last_tick_at__gte=now_plus(-MAX_TICK_INTERVAL))

    def slow(self) -> AccountStateQuerySet:
        """Match accounts that had a slow call recently."""
        return self.filter(slow_at__gte=now_plus(-SLOW_PERIOD), slow_at__lte=DatabaseNow())

    def cooling_down(self) -> AccountStateQuerySet:
        """Match accounts in the cool-down after a slow call: no call is made to their servers now."""
        return self.filter(slow_at__gte=now_plus(-SLOW_PAUSE), slow_at__lte=DatabaseNow())

    def is_turn(self, alias: str, field: str) -> bool:
        """Return whether the account's time in `field` (such as `next_audit_at`) has come. One query."""
        return not self.primary().filter(alias=alias, **{f"{field}__gt": DatabaseNow()}).exists()

    def take_turn(self, alias: str, field: str, interval: timedelta) -> bool:
        """Set the account's time in `field` to `interval` from now if it has come, and return whether this call did.

        If several processes call this at once, it returns True to one of them, which does the work.
        """
        if not self.is_turn(alias, field):
            return False  # one query, even if many messages were queued
        rows = self.primary()
        rows.get_or_create(alias=alias)
        return bool(rows.filter(_is_past(field), alias=alias).update(**{field: now_plus(interval)}))

    def dispatch_poll(self, alias: str, rest: timedelta) -> bool:
        """Return whether to send a message to poll the account now. If so, record that it is sent.

        The intervals between messages are those of `dispatch_due`.
        """
        if not self.is_turn(alias, "next_poll_at"):
            return False
        rows, rests = self.primary(), dispatch_intervals(rest)
        count = rows.get_or_create(alias=alias)[0].poll_dispatch_count
        until = now_plus(rests[min(count, len(rests) - 1)])
        waiting = rows.filter(_is_past("next_poll_at"), alias=alias, poll_dispatch_count=count)
        return bool(waiting.update(next_poll_at=until, poll_dispatch_count=min(count + 1, len(rests))))

    def begin_tick(self, alias: str) -> bool:
        """Record that a tick begins, unless one began within 20 seconds, and return whether it may begin.

        The clock is the database's. If it was set back, a tick may begin. A tick that is too early costs one query.
        """
        rows = self.primary()
        lately = Q(tick_began_at__gt=now_plus(-MIN_TICK_INTERVAL), tick_began_at__lte=DatabaseNow())
        if rows.filter(lately, alias=alias).exists():
            return False
        rows.get_or_create(alias=alias)
        began = {"tick_began_at": DatabaseNow(), "tick_clock_at": timezone.now()}
        return bool(rows.filter(alias=alias).exclude(lately).update(**began))

    def begin_create(self, alias: str, batch: int) -> bool:
        """Record that a create call begins for the batch with this primary key, unless another one is being made."""
        self.primary().get_or_create(alias=alias)
        # A time further ahead than CREATE_LEASE means that the database's clock was set back.
        is_over = Q(create_until__lt=DatabaseNow()) | Q(create_until__gt=now_plus(CREATE_LEASE))
        is_free = Q(create_until__isnull=True) | is_over | Q(create_batch=batch)
        begun = {"create_batch": batch, "create_until": now_plus(CREATE_LEASE)}
        return bool(self.primary().filter(is_free, alias=alias).update(**begun))

    def renew_create(self, alias: str, batch: int) -> None:
        """Record that the batch's create call is still being made."""
        self.primary().filter(alias=alias, create_batch=batch).update(create_until=now_plus(CREATE_LEASE))

    def end_create(self, alias: str, batch: int) -> None:
        """Record that the batch's create call is over."""
        self.primary().filter(alias=alias, create_batch=batch).update(create_batch=None, create_until=None)

    def clock(self) -> datetime:
        """Return the database's time. An aggregate returns one row even if the table is empty."""
        now = Coalesce(Max("last_tick_at"), DatabaseNow(), output_field=models.DateTimeField())
        moment: datetime = self.filter(pk=0).aggregate(now=now)["now"]
        return moment


class AccountState(Leased):
    """The state of an account of the settings: whether it is paused or slow, and when its next work is due."""

    alias = IdentifierField(_("account"), max_length=64, unique=True)
    paused_at = models.DateTimeField(_("paused at"), null=True, blank=True)
    paused_until = models.DateTimeField(_("paused until"), null=True, blank=True)
    pause_reason = StorableTextField(_("why"), blank=True)
    installation = models.CharField(
        _("installation"),
        max_length=100,
        blank=True,
        default="",
        help_text=_("The installation that the account's batches belong to."),
    )
    tick_began_at = models.DateTimeField(null=True, blank=True, editable=False)
    tick_clock_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text=_("When the tick began, by the clock of the worker's machine.")
    )
    next_watch_at = models.DateTimeField(null=True, blank=True, editable=False)
    next_audit_at = models.DateTimeField(null=True, blank=True, editable=False)
    next_purge_at = models.DateTimeField(null=True, blank=True, editable=False)
    audited_at = models.DateTimeField(_("last audit"), null=True, blank=True)
    audit_findings = models.PositiveIntegerField(
        _("findings"), default=0, help_text=_("Findings of the last audit that require a person.")
    )
    findings = models.JSONField(
        default=list,
        blank=True,
        editable=False,
        help_text=_("The first findings of the last audit that require a person."),
    )
    search_after_id = IdentifierField(
        max_length=128,
        blank=True,
        default="",
        editable=False,
        help_text=_("The id from which the listing of a search may begin."),
    )
    search_after_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_tick_at = models.DateTimeField(_("last tick"), null=True, blank=True)
    next_poll_at = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text=_("No other message to poll the account is sent before this time."),
    )
    slow_since = models.DateTimeField(
        _("slow since"),
        null=True,
        blank=True,
        help_text=_("Since when calls to the account's server have repeatedly exceeded a time limit."),
    )
    slow_at = models.DateTimeField(
        _("slow at"), null=True, blank=True, help_text=_("When a call last exceeded one of its time limits.")
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
        null=True,
        blank=True,
        editable=False,
        help_text=_("No other create call of the account begins before this time."),
    )

    objects = AccountStateQuerySet.as_manager()

    class Meta:
        verbose_name = _("account")
        verbose_name_plural = _("accounts")
        ordering = ["alias"]

    def __str__(self) -> str:
        return str(self.alias)

    def belongs_to_other_installation(self, installation: str) -> bool:
        """Return whether the account's batches belong to an installation of another name.

        False unless both names are set.
        """
        return bool(installation and self.installation) and self.installation != installation
