from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_claude_batches.models.fields import IdentifierField, StorableCharField, StorableDateTimeField

COUNTS = ("processing", "succeeded", "errored", "canceled", "expired")
"""The API's `request_counts`, each a column: `processing_count` and so on."""

LENGTHS = {"processing_status": 40, "results_url": 500}
"""Characters that are kept of the API's texts."""


class Mirror(models.Model):
    """A batch as Anthropic last showed it, word for word: values that we do not know are kept too."""

    anthropic_id = IdentifierField(_("id at Anthropic"), max_length=128, unique=True, null=True, blank=True)
    processing_status = StorableCharField(_("processing status"), max_length=LENGTHS["processing_status"], blank=True)
    processing_count = models.PositiveIntegerField(_("processing"), default=0)
    succeeded_count = models.PositiveIntegerField(_("succeeded"), default=0)
    errored_count = models.PositiveIntegerField(_("errored"), default=0)
    canceled_count = models.PositiveIntegerField(_("canceled"), default=0)
    expired_count = models.PositiveIntegerField(_("expired"), default=0)
    created_at = StorableDateTimeField(_("created at Anthropic"), null=True, blank=True)
    expires_at = StorableDateTimeField(_("expires at"), null=True, blank=True)
    ended_at = StorableDateTimeField(_("ended at"), null=True, blank=True)
    cancel_initiated_at = StorableDateTimeField(_("cancel initiated at"), null=True, blank=True)
    archived_at = StorableDateTimeField(_("archived at"), null=True, blank=True)
    results_url = StorableCharField(_("results URL"), max_length=LENGTHS["results_url"], blank=True)

    class Meta:
        abstract = True

    @property
    def failed_count(self) -> int:
        """Requests that ended without a message: errored, canceled and expired."""
        return self.errored_count + self.canceled_count + self.expired_count
