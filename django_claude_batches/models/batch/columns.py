from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models import Case, Exists, OuterRef, Q, Value, When
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_claude_batches.models.batch_state import EDITABLE, FINAL
from django_claude_batches.models.delivery import DeliveryChunk
from django_claude_batches.models.fields import IdentifierField, StorableCharField, StorableDateTimeField
from django_claude_batches.models.run import ACTIVE, WORKING

# The API's `request_counts`, each a column: `processing_count` and so on.
COUNTS = ("processing", "succeeded", "errored", "canceled", "expired")

# Stored length, in characters, of the API's texts.
LENGTHS = {"processing_status": 40, "results_url": 500}


class RemoteColumns(models.Model):
    """A batch as Anthropic last returned it. Unknown values are stored verbatim."""

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


class RunColumns(models.Model):
    """The job run that made the batch, if any, and its progress with the batch."""

    run = models.ForeignKey(
        "django_claude_batches.JobRun",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="batches",
        verbose_name=_("run"),
    )
    run_attempt = models.PositiveSmallIntegerField(
        _("attempt"), default=0, help_text=_("How many times the run has asked these rows, including this time.")
    )
    is_filling = models.BooleanField(
        default=False,
        editable=False,
        help_text=_("The run still adds requests to the batch, so it cannot be submitted."),
    )
    submitted_by_run_at = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text=_("When the run submitted the batch, within MAX_IN_FLIGHT_REQUESTS."),
    )
    delivered_at = models.DateTimeField(
        _("delivered at"), null=True, blank=True, help_text=_("When all results had been delivered to the job.")
    )

    class Meta:
        abstract = True

    def needed_for(self, *, using: str) -> str:
        """Return why a run still needs the batch, even in a final state; empty if no run does. One query."""
        deliveries = DeliveryChunk.objects.using(using).filter(batch=OuterRef("pk"))
        answered = Q(state__in=FINAL, run__state__in=ACTIVE)
        unsent = Q(state__in=EDITABLE, run__state__in=WORKING)
        reason = Case(
            When(is_filling=True, then=Value("its run still adds requests to it.")),
            When(Exists(deliveries.undone()), then=Value("its results are being delivered to its job.")),
            When(answered, delivered_at__isnull=True, then=Value("its run continues with it.")),
            When(Exists(deliveries.to_follow_up()), then=Value("its run is about to ask rows of it again.")),
            When(unsent, delivered_at__isnull=True, then=Value("its run waits for it: cancel the run first.")),
            default=Value(""),
            output_field=models.TextField(),
        )
        rows = type(self)._default_manager.using(using).filter(pk=self.pk)
        return rows.values_list(reason, flat=True).first() or ""


class PurgeColumns(models.Model):
    """When RETENTION purged a batch: `…_began_at` is set before the first row, `…_purged_at` after the last."""

    request_purge_began_at = models.DateTimeField(null=True, blank=True, editable=False)
    request_bodies_purged_at = models.DateTimeField(_("requests purged at"), null=True, blank=True)
    result_purge_began_at = models.DateTimeField(null=True, blank=True, editable=False)
    result_bodies_purged_at = models.DateTimeField(_("results purged at"), null=True, blank=True)

    class Meta:
        abstract = True

    @property
    def request_purge_note(self) -> str:
        """Return when the requests' params were purged, as text; empty if all are present."""
        return _note(self.request_bodies_purged_at or self.request_purge_began_at)

    @property
    def result_purge_note(self) -> str:
        """Return when the results' messages were purged, as text; empty if all are present."""
        return _note(self.result_bodies_purged_at or self.result_purge_began_at)


def _note(at: datetime | None) -> str:
    if at is None:
        return ""
    return gettext("Purged on %(date)s.") % {"date": date_format(timezone.localtime(at), "DATE_FORMAT")}
