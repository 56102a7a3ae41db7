from __future__ import annotations

from datetime import timedelta
from typing import Self

from django.db import models
from django.db.models import F
from django.db.models.functions import Coalesce
from django.utils.translation import gettext_lazy as _

from django_claude_batches.db.leases import DatabaseNow, PrimaryQuerySet
from django_claude_batches.models.fields import (
    IdentifierField,
    StorableCharField,
    StorableDateTimeField,
    StorableTextField,
)

# A batch counts as gone after this many 404 responses, if the first and the last are this far apart. A 404 was observed
# up to 2 minutes after a create (docs/reference/wire.md §5.1).
MISSES_UNTIL_GONE = 3
MISSING_PERIOD = timedelta(minutes=30)


class RemoteBatchQuerySet(PrimaryQuerySet["RemoteBatch"]):
    def of(self, account: str) -> Self:
        return self.primary().filter(account=account)

    def count_miss(self, pk: int, why: str) -> None:
        """Count one 404 response from the Workspace in which the batch was listed."""
        missed_at = Coalesce("missed_at", DatabaseNow())
        last = {"misses": F("misses") + 1, "missed_at": missed_at, "last_missed_at": DatabaseNow()}
        self.primary().filter(pk=pk).update(**last, why=why)


class RemoteBatch(models.Model):
    """A batch that an account lists at Anthropic and that a create call without an answer may have made.

    The row is kept if a later listing lacks the batch, because that proves nothing. All attempts of the account share
    the row; which of them may have made the batch follows from its creation time (`services.listings.windows`).
    """

    account = IdentifierField(_("account"), max_length=64)
    remote_id = IdentifierField(_("remote id"), max_length=128)
    workspace_id = StorableCharField(
        max_length=100, blank=True, help_text=_("The Workspace in which it was listed, if known.")
    )
    created_at = StorableDateTimeField(_("created at"), null=True, blank=True)
    requests = models.PositiveIntegerField(_("requests"), default=0, help_text=_("The sum of its request counts."))
    status = StorableCharField(_("status"), max_length=40, blank=True)
    first_seen_at = models.DateTimeField(_("first seen at"))
    asked_at = models.DateTimeField(_("last queried at"), null=True, blank=True)
    misses = models.PositiveIntegerField(default=0, help_text=_("Consecutive times that the batch was not found."))
    missed_at = models.DateTimeField(_("missed since"), null=True, blank=True)
    last_missed_at = models.DateTimeField(null=True, blank=True)
    is_foreign = models.BooleanField(
        _("of another call"),
        default=False,
        help_text=_("Its results carry no tag of this project, so they are not read again."),
    )
    why = StorableTextField(_("why it is not certain"), blank=True)
    lines_read = models.PositiveIntegerField(
        default=0, help_text=_("Well-formed lines in the last read of its results.")
    )
    digest = models.CharField(
        max_length=64, blank=True, help_text=_("SHA-256 of a short results body that was received completely.")
    )
    digest_at = models.DateTimeField(null=True, blank=True, help_text=_("When a body with this digest was first read."))

    objects = RemoteBatchQuerySet.as_manager()

    class Meta:
        verbose_name = _("remote batch")
        verbose_name_plural = _("remote batches")
        constraints = [models.UniqueConstraint(fields=["account", "remote_id"], name="dcb_remote_batch")]

    def __str__(self) -> str:
        return str(self.remote_id)

    @property
    def is_gone(self) -> bool:
        """Return whether the Workspace that listed the batch did not find it three times, over half an hour."""
        if self.misses < MISSES_UNTIL_GONE or self.missed_at is None or self.last_missed_at is None:
            return False
        return self.last_missed_at - self.missed_at >= MISSING_PERIOD
