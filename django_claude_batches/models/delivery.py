"""Which results of a run were handed to its job, and which could not be.

A batch's requests are cut into chunks by their position. How far a chunk is, is written in the transaction in which the
job's handlers wrote: that is the mark of each row, and there is no other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Self

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from django_claude_batches.db.dispatch import Dispatched, DispatchedQuerySet
from django_claude_batches.db.leases import DatabaseNow, PrimaryQuerySet, is_due, now_plus
from django_claude_batches.error_text import TRACEBACK_START
from django_claude_batches.models.fields import StorableCharField, StorableTextField
from django_claude_batches.models.request import BatchRequest
from django_claude_batches.models.run import ACTIVE, JobRun

CHUNK_REQUESTS = 1000
"""Requests in a chunk: what one process takes at a time, while others take other chunks."""


class DeliveryMode(models.TextChoices):
    """What a chunk's requests are handed out for."""

    FIRST = "first", _("For the first time")
    FAILED = "failed", _("Failed deliveries")
    REDELIVER = "redeliver", _("All answers, redelivered")
    NO_RETRY = "no_retry", _("Failures that are not retried after all")


REDELIVERY_MODES = frozenset({DeliveryMode.FAILED, DeliveryMode.REDELIVER})
"""Deliveries of rows that were handed out before, at which an answer may be taken that was not."""


class DeliveryChunkQuerySet(DispatchedQuerySet["DeliveryChunk"]):
    def undone(self) -> Self:
        return self.filter(done_at__isnull=True)

    def stuck(self) -> Self:
        """Those at which nobody goes on by themselves; `last_error` says why."""
        return self.undone().filter(next_action_at__isnull=True)

    def unpaused(self) -> Self:
        """Undone ones whose run is not paused, or that have none."""
        return self.undone().filter(Q(batch__run__isnull=True) | Q(batch__run__paused_at__isnull=True))

    def due(self) -> Self:
        """Those for which there is something to do now, at which nobody is, and whose run is not paused."""
        return self.unpaused().filter(is_due())

    def dispatch_due(self, limit: int, rest: timedelta) -> list[int]:
        """Give the primary keys of the first due ones, without those whose message rests (`DispatchedQuerySet`)."""
        return self.due()._dispatch_due(limit, rest)

    def to_follow_up(self) -> Self:
        """Those with rows that are to be asked again, and are in no batch of the next attempt yet."""
        return self.exclude(to_retry=[])

    def with_failures(self) -> Self:
        """Those with rows that failed for good."""
        return self.filter(failed_count__gt=0)

    def locked_failures(self, batch_id: int, **lookups: Any) -> Self:
        """Give the ones of a batch that are done and have rows that failed for good, locked in their order.

        Looked for first, and locked by their keys: MySQL locks what it only looks at, and others are at the rest.
        """
        done = self.with_failures().filter(batch=batch_id, done_at__isnull=False, **lookups)
        return self.filter(pk__in=list(done.values_list("pk", flat=True))).order_by("pk").select_for_update()

    def retry_now(self) -> int:
        """Have these tried again now, stuck ones too, and give their number."""
        return self.update(next_action_at=DatabaseNow(), tries=0)

    def start_delivery(self, batch: Any) -> None:
        """Have the results of a run's batch handed out: all, or what came since; inside the caller's transaction.

        A run that is over does not wait for them, and asks nothing again.
        """
        rows = self.primary()
        if batch.run_id is None:
            return
        begun = rows.filter(batch=batch).exists()
        cut = self._create_late_chunks(batch) if begun else self.create_chunks(batch)
        if cut and JobRun.objects.using(rows.db).filter(pk=batch.run_id, state__in=ACTIVE).exists():
            type(batch).objects.using(rows.db).filter(pk=batch.pk).update(delivered_at=None)

    def _create_late_chunks(self, batch: Any) -> int:
        """Make chunks of requests that failed for good without a result, and have one now; give their number.

        Those that were asked again meanwhile are no failures any more: their rows get the later answer.
        """
        rows = self.primary()
        made = 0
        for chunk in rows.locked_failures(batch.pk):
            missing = [position for position, outcome in chunk.failed if outcome == "missing"]
            found = BatchRequest.objects.using(rows.db).filter(batch=batch, position__in=missing)
            late = sorted(found.filter(result__isnull=False).values_list("position", flat=True))
            if late:
                chunk.outcomes = dict(Counter(chunk.outcomes) - Counter(missing=len(late)))
                chunk.withdraw_failures(late)
                self.create_chunk_of(batch, late)
                made += 1
        return made

    def create_chunk_of(self, batch: Any, positions: list[int], mode: DeliveryMode = DeliveryMode.FIRST) -> None:
        """Make a chunk of these requests, which are named in their order; inside the caller's transaction."""
        self.primary().create(
            batch=batch,
            mode=mode,
            position=positions[0],
            last_position=positions[-1],
            positions=positions,
            next_action_at=DatabaseNow(),
        )

    def create_chunks(self, batch: Any, mode: DeliveryMode = DeliveryMode.FIRST) -> int:
        """Make the chunks of a batch's requests, and give their number; inside the caller's transaction.

        Their positions are counted from 0 without a gap: nobody but a draft's own making adds requests.
        """
        return self.create_chunks_between(batch.pk, 0, batch.request_count - 1, mode)

    def create_chunks_between(self, batch_id: int, first: int, last: int, mode: DeliveryMode) -> int:
        """Make the chunks of the requests from one position to another, and give their number."""
        starts = range(first, last + 1, CHUNK_REQUESTS)
        self.primary().bulk_create(
            self.model(
                batch_id=batch_id,
                mode=mode,
                position=start,
                last_position=min(start + CHUNK_REQUESTS - 1, last),
                next_action_at=DatabaseNow(),
            )
            for start in starts
        )
        return len(starts)


class DeliveryChunk(Dispatched):
    """Some requests of a batch, one after the other, whose results are handed to its job in one go."""

    batch = models.ForeignKey("MessageBatch", on_delete=models.CASCADE, related_name="deliveries")
    mode = models.CharField(max_length=10, choices=DeliveryMode.choices, default=DeliveryMode.FIRST)
    position = models.PositiveIntegerField(_("next position"))
    last_position = models.PositiveIntegerField(_("last position"))
    positions = models.JSONField(null=True, blank=True, help_text=_("Only these, where they are named."))
    next_action_at = models.DateTimeField(null=True, blank=True, db_index=True)
    tries = models.PositiveIntegerField(default=0, editable=False, help_text=_("Consecutive failed attempts."))
    last_error = StorableTextField(_("last error"), blank=True)
    done_at = models.DateTimeField(_("done at"), null=True, blank=True)
    outcomes = models.JSONField(default=dict, help_text=_("How many requests had each outcome."))
    delivered_count = models.PositiveIntegerField(
        _("delivered"), default=0, help_text=_("Rows whose handler took the answer, and that had not counted so.")
    )
    failed_count = models.PositiveIntegerField(_("failed"), default=0)
    gone_count = models.PositiveIntegerField(_("target deleted meanwhile"), default=0)
    to_retry = models.JSONField(default=list, help_text=_("Positions that are tried again, each with what changes."))
    failed = models.JSONField(default=list, help_text=_("Positions that failed for good, each with its outcome."))

    objects = DeliveryChunkQuerySet.as_manager()

    class Meta:
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")
        default_permissions = ()
        constraints = [
            # Whatever is not done is due, or somebody can read why not.
            models.CheckConstraint(
                condition=Q(done_at__isnull=False) | Q(next_action_at__isnull=False) | ~Q(last_error=""),
                name="dcb_delivery_due",
            )
        ]
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.position}-{self.last_position} of batch {self.batch_id}"

    def record(self, token: str, **changes: Any) -> bool:
        """Change the row while the lease holds, and give whether it did."""
        return bool(DeliveryChunk.objects.primary().leased_by(self.pk, token).update(**changes))

    def reschedule(self, delay: timedelta | None, *, token: str, error: str) -> None:
        """Come back later; never by itself where there is no `delay`."""
        at = None if delay is None else now_plus(delay)
        self.record(token, next_action_at=at, last_error=error)

    def withdraw_failures(self, positions: Iterable[int]) -> None:
        """Count these as failed no more; inside the caller's transaction, of a chunk that is done."""
        self._forget_failures(positions)
        self.save(using=DeliveryChunk.objects.primary().db, update_fields=["failed", "failed_count", "outcomes"])

    def mark_for_retry(self, changes: Mapping[int, str]) -> None:
        """Have failed ones asked again, each with its change; as `take_back`."""
        self._forget_failures(changes)
        self.to_retry = [*self.to_retry, *([position, change] for position, change in changes.items())]
        self.save(using=DeliveryChunk.objects.primary().db, update_fields=["failed", "failed_count", "to_retry"])

    def _forget_failures(self, positions: Iterable[int]) -> None:
        taken = set(positions)
        self.failed = [failed for failed in self.failed if failed[0] not in taken]
        self.failed_count = len(self.failed)


class FailedDeliveryQuerySet(PrimaryQuerySet["FailedDelivery"]):
    """No more than any of ours."""


class FailedDelivery(models.Model):
    """A request whose handler raised: what it wrote is undone, and it is not called again until somebody says so."""

    batch = models.ForeignKey("MessageBatch", on_delete=models.CASCADE, related_name="failed_deliveries")
    request = models.OneToOneField(
        BatchRequest,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="failed_delivery",
        verbose_name=_("request"),
    )
    position = models.PositiveIntegerField(_("position"))
    outcome = models.CharField(_("outcome"), max_length=40)
    error = StorableCharField(_("error"), max_length=300)
    traceback = StorableTextField(_("traceback"))
    failed_at = models.DateTimeField(_("failed at"), auto_now_add=True)
    was_delivered = models.BooleanField(
        default=False, editable=False, help_text=_("Counts as delivered since a time before.")
    )

    objects = FailedDeliveryQuerySet.as_manager()

    class Meta:
        verbose_name = _("failed delivery")
        verbose_name_plural = _("failed deliveries")
        default_permissions = ()
        indexes = [models.Index(fields=["batch", "position"], name="dcb_parked_position")]

    def __str__(self) -> str:
        return f"{self.position}: {self.error}"

    @property
    def raised(self) -> str:
        """The error, in a form that `public` reduces to type and place."""
        place, mark, words = self.traceback.partition(TRACEBACK_START)
        head = place.strip() if mark else ""
        first = head or self.error.partition(":")[0]
        return f"{first}\n{TRACEBACK_START}\n{self.error}\n{words.strip() if mark else place}"
