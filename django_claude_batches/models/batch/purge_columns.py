from __future__ import annotations

from datetime import datetime

from django.db import models
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy


class Purge(models.Model):
    """What RETENTION took of a batch, and when. It began before its first row, and is done after its last."""

    request_purge_began_at = models.DateTimeField(null=True, blank=True, editable=False)
    request_bodies_purged_at = models.DateTimeField(gettext_lazy("requests purged at"), null=True, blank=True)
    result_purge_began_at = models.DateTimeField(null=True, blank=True, editable=False)
    result_bodies_purged_at = models.DateTimeField(gettext_lazy("results purged at"), null=True, blank=True)

    class Meta:
        abstract = True

    @property
    def request_purge_note(self) -> str:
        """When the requests' params were purged, in words; nothing where they are all there."""
        return _note(self.request_bodies_purged_at or self.request_purge_began_at)

    @property
    def result_purge_note(self) -> str:
        """When the results' messages were purged, in words; nothing where they are all there."""
        return _note(self.result_bodies_purged_at or self.result_purge_began_at)


def _note(at: datetime | None) -> str:
    return "" if at is None else _("Purged on %(date)s.") % {"date": date_format(timezone.localtime(at), "DATE_FORMAT")}
