from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from django_claude_batches.db.leases import PrimaryQuerySet
from django_claude_batches.models.fields import StorableTextField

# Events whose text consists of ids, counts, names of columns and fixed words. The text of any other event may be an
# error that quotes a request or an answer, so a new event belongs to those until it is listed here.
EVENTS_WITHOUT_QUOTES = (
    *(
        "drafted",
        "submitted",
        "sending",
        "accepted",
        "proven",
        "duplicate",
        "took_over",
        "adopted",
        "identification_requested",
    ),
    *("identified", "ended", "canceling", "ingested", "retried", "edited", "exported", "abandoned", "erased"),
    *("request_bodies_purged", "result_bodies_purged", "remote_copy_expired"),
)


class BatchEvent(models.Model):
    """One line of a batch's timeline: who did what, and when. Rows are only added; a purge may empty their text."""

    batch = models.ForeignKey("MessageBatch", on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField(_("at"), auto_now_add=True)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    by_name = models.CharField(_("by"), max_length=150, blank=True, help_text=_("Empty for the app itself."))
    what = models.SlugField(_("what"), max_length=40)
    text = StorableTextField(_("text"), blank=True)

    objects = PrimaryQuerySet["BatchEvent"].as_manager()

    class Meta:
        verbose_name = _("event")
        verbose_name_plural = _("events")
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.what}: {self.text}" if self.text else self.what


def user_name(user: Any) -> str:
    """Return a name that stays readable after the user is deleted."""
    return str(user.get_username())[:150] if user is not None else ""
