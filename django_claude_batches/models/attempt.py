from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from django_claude_batches.db.leases import PrimaryQuerySet
from django_claude_batches.drafting.request import TAG_LENGTH
from django_claude_batches.models.batch_state import State
from django_claude_batches.models.fields import (
    IdentifierField,
    StorableCharField,
    StorableDateTimeField,
    StorableJSONField,
)

# How long the last block of a body may take if its sending began before the deadline: the connect timeout of a create
# call.
LAST_BLOCK_TIMEOUT = timedelta(minutes=1)

# Full listings without a candidate, ten minutes apart, before a call counts as not received.
FULL_LISTINGS = 2


class Outcome(models.TextChoices):
    """The outcome of one create call."""

    OPEN = "open", _("Open")
    NOT_SENT = "not_sent", _("Not sent")
    ACCEPTED = "accepted", _("Accepted")
    REFUSED = "refused", _("Refused")
    UNCERTAIN = "uncertain", _("No answer")
    NOT_RECEIVED = "not_received", _("Not received")
    UNDECIDED = "undecided", _("Never known")


class SubmitAttemptQuerySet(PrimaryQuerySet["SubmitAttempt"]):
    def unresolved(self) -> SubmitAttemptQuerySet:
        """Match attempts whose call is running, or whose batch is searched for."""
        return self.filter(outcome__in=[Outcome.OPEN, Outcome.UNCERTAIN], remote_id__isnull=True)

    def sent_and_unresolved(self, alias: str) -> SubmitAttemptQuerySet:
        """Match an account's attempts that were sent and may or may not have made a batch."""
        sent = self.unresolved().filter(batch__account=alias, sent_at__isnull=False)
        return sent.exclude(batch__state=State.ABANDONED)

    def reset_listing_count(self) -> None:
        """Reset the number of full listings without a candidate for these attempts."""
        self.filter(listings_made__gt=0).update(listings_made=0, last_listing_at=None)

    def may_have_created(self) -> SubmitAttemptQuerySet:
        """Match attempts that made, or may have made, a batch at Anthropic. The batch is not sent again after them.

        Undecided attempts are not included: after those, only a person can have the batch sent again.
        """
        unknown = Q(outcome__in=[Outcome.OPEN, Outcome.UNCERTAIN], sent_at__isnull=False)
        return self.filter(unknown | Q(remote_id__isnull=False))


class SubmitAttempt(models.Model):
    """One create call, recorded before it is made. The row is never reused, and is kept when its batch is deleted.

    The tag is prefixed to each custom_id on the wire. It is the only proof of which call made a remote batch, since the
    API has neither idempotency keys nor metadata.
    """

    batch = models.ForeignKey("MessageBatch", on_delete=models.SET_NULL, null=True, related_name="attempts")
    number = models.PositiveIntegerField(_("number"))
    tag = IdentifierField(_("tag"), max_length=TAG_LENGTH, unique=True)
    account_fingerprint = models.CharField(
        max_length=16, blank=True, help_text=_("Distinguishes servers, Workspaces and keys without revealing them.")
    )
    workspace_id = StorableCharField(max_length=100, blank=True)
    baseline_id = IdentifierField(
        max_length=128, null=True, blank=True, help_text=_("The newest batch at Anthropic just before the call.")
    )
    baseline_created_at = StorableDateTimeField(null=True, blank=True)
    anchors = StorableJSONField(
        default=list,
        blank=True,
        help_text=_(
            "The newest ids before the call, with their creation times. A listing that shows one of them is full."
        ),
    )
    noted_ids = StorableJSONField(
        default=list,
        blank=True,
        help_text=_("Ids that were listed before the call: the call did not make these batches."),
    )
    window_until = StorableDateTimeField(
        null=True,
        blank=True,
        help_text=_("By the server's clock: the call did not make any batch that was created later."),
    )
    body_bytes = models.PositiveBigIntegerField(_("body bytes"), null=True, blank=True)
    body_sha256 = models.CharField(_("body SHA-256"), max_length=64, blank=True)
    recorded_at = models.DateTimeField(_("recorded at"))
    sent_at = models.DateTimeField(_("sent at"), null=True, blank=True)
    send_deadline = models.DurationField(
        default=timedelta(seconds=600), help_text=_("Measured from sent_at. Sending the body stops after it.")
    )
    read_timeout = models.DurationField(
        default=timedelta(seconds=600), help_text=_("How long to wait for the answer after the last byte of the body.")
    )
    watch_until = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(_("outcome"), max_length=20, choices=Outcome.choices, default=Outcome.OPEN)
    http_status = models.PositiveSmallIntegerField(_("HTTP status"), null=True, blank=True)
    api_request_id = StorableCharField(_("request id"), max_length=100, blank=True)
    remote_id = IdentifierField(_("remote id"), max_length=128, null=True, blank=True, db_index=True)
    candidates = StorableJSONField(
        default=list,
        blank=True,
        help_text=_(
            "Remote batches that the call may have made: id, created_at, requests, status, and why that is not certain."
        ),
    )
    listings_made = models.PositiveIntegerField(
        default=0, help_text=_("Full listings after the quiet period, ten minutes apart, without a candidate.")
    )
    last_listing_at = models.DateTimeField(null=True, blank=True)

    objects = SubmitAttemptQuerySet.as_manager()

    class Meta:
        verbose_name = _("submit attempt")
        verbose_name_plural = _("submit attempts")
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["batch", "number"], name="dcb_attempt_number")]

    def __str__(self) -> str:
        return f"attempt {self.number} ({self.outcome})"

    @property
    def max_duration(self) -> timedelta:
        """Return how long after `sent_at` the call may still be running, by the settings that it was made with."""
        return self.send_deadline + LAST_BLOCK_TIMEOUT + self.read_timeout

    def close(self, outcome: Outcome, **answered: Any) -> bool:
        """Record the outcome of an unresolved attempt; `answered` are columns with the API's answer.

        Return whether the outcome was recorded and the batch has no later attempt. Nothing is recorded if the attempt
        was resolved in the meantime, for NOT_SENT if it was sent, or for NOT_RECEIVED if a candidate has been seen.
        """
        attempts = SubmitAttempt.objects.primary()
        unresolved = attempts.unresolved().filter(pk=self.pk)
        if outcome == Outcome.NOT_SENT:
            unresolved = unresolved.filter(sent_at__isnull=True)
        if outcome == Outcome.NOT_RECEIVED:
            unresolved = unresolved.filter(listings_made__gte=FULL_LISTINGS)
        if not unresolved.update(outcome=outcome, **answered):
            return False
        return not attempts.filter(batch_id=self.batch_id, number__gt=self.number).exists()
