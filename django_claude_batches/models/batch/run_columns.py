from __future__ import annotations

from django.db import models
from django.db.models import Case, Exists, OuterRef, Q, Value, When
from django.utils.translation import gettext_lazy as _

from django_claude_batches.models.batch_state import EDITABLE, FINAL
from django_claude_batches.models.delivery import DeliveryChunk
from django_claude_batches.models.run import ACTIVE, WORKING


class OfRun(models.Model):
    """What a batch knows of the job's run that made it, if one did, and how far that is with it."""

    run = models.ForeignKey(
        "django_claude_batches.JobRun",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="batches",
        verbose_name=_("run"),
    )
    run_attempt = models.PositiveSmallIntegerField(
        _("attempt"), default=0, help_text=_("How often its run has asked these rows, this time included.")
    )
    is_filling = models.BooleanField(
        default=False, editable=False, help_text=_("Its run still adds requests to it, so it cannot be submitted.")
    )
    released_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text=_("When its run submitted it, within the queue's limit.")
    )
    delivered_at = models.DateTimeField(
        _("delivered at"), null=True, blank=True, help_text=_("All its results were handed to its job.")
    )

    class Meta:
        abstract = True

    def needed_for(self, *, using: str) -> str:
        """Say why a run needs it, however final its state is; nothing where none does. One query."""
        deliveries = DeliveryChunk.objects.using(using).filter(batch=OuterRef("pk"))
        answered = Q(state__in=FINAL, run__state__in=ACTIVE)
        unsent = Q(state__in=EDITABLE, run__state__in=WORKING)
        reason = Case(
            When(is_filling=True, then=Value("its run still adds requests to it.")),
            When(Exists(deliveries.undone()), then=Value("its results are being handed to its job.")),
            When(answered, delivered_at__isnull=True, then=Value("its run goes on with it.")),
            When(Exists(deliveries.to_follow_up()), then=Value("its run is about to ask rows of it again.")),
            When(unsent, delivered_at__isnull=True, then=Value("its run waits for it: cancel the run first.")),
            default=Value(""),
            output_field=models.TextField(),
        )
        rows = type(self)._default_manager.using(using).filter(pk=self.pk)
        return rows.values_list(reason, flat=True).first() or ""
