from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_claude_batches.db.leases import PrimaryQuerySet
from django_claude_batches.models.fields import IdentifierField


class OpenListing(models.Model):
    """A request for a page of a listing whose answer is not stored yet.

    The answer may show the batch of a create call without an answer. If the process dies, the row remains.
    """

    account = IdentifierField(_("account"), max_length=64)
    begun_at = models.DateTimeField(_("begun at"))

    objects = PrimaryQuerySet["OpenListing"].as_manager()

    class Meta:
        verbose_name = _("open listing")
        verbose_name_plural = _("open listings")

    def __str__(self) -> str:
        return f"{self.account}, {self.begun_at}"
