"""Delivery of results to a job: which results were delivered, and which deliveries failed.

A batch's requests are divided into chunks by position. A chunk's progress is stored in the same transaction as what the
job's handlers write, and is the only record that a row was delivered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from django_claude_batches.db.dispatch import DispatchableQuerySet
from django_claude_batches.db.leases import DatabaseNow, PrimaryQuerySet
from django_claude_batches.error_text import TRACEBACK_START
from django_claude_batches.models.fields import StorableCharField, StorableTextField
from django_claude_batches.models.request import BatchRequest
from django_claude_batches.models.run import ACTIVE, JobRun
from django_claude_batches.models.work_item import WorkItem

# Requests in a chunk. One process at a time delivers a chunk; several chunks are delivered at once.
CHUNK_REQUESTS = 1000


# Columns of a chunk about the rows that failed for good.
FAILURE_COLUMNS = ("failed", "failed_count", "failed_outcomes")


def failure_columns(failed: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """Return the values of FAILURE_COLUMNS for these rows, each given by its position and outcome."""
    outcomes = Counter(outcome for _position, outcome in failed)
    return {"failed": failed, "failed_count": len(failed), "failed_outcomes": dict(outcomes)}


class DeliveryMode(models.TextChoices):
    """Why a chunk's requests are delivered."""

    FIRST = "first", _("For the first time")
    FAILED = "failed", _("Failed deliveries")
    REDELIVER = "redeliver", _("All answers, redelivered")
    NO_RETRY = "no_retry", _("Failures that are not retried after all")


# Modes in which rows were already delivered once. A handler that raised then may accept the answer now.
REDELIVERY_MODES = frozenset({DeliveryMode.FAILED, DeliveryMode.REDELIVER})


class DeliveryChunkQuerySet(DispatchableQuerySet["DeliveryChunk"]):
    def undone(self) -> Self:
        return self.filter(done_at__isnull=True)

    def stuck(self) -> Self:
        """Match chunks that are not retried automatically; `last_error` says why."""
        return self.undone().filter(next_action_at__isnull=True)

    def unpaused(self) -> Self:
        """Match chunks that are not done and whose run is not paused, or that have no run."""
        return self.undone().filter(Q(batch__run__isnull=True) | Q(batch__run__paused_at__isnull=True))

    def due(self) -> Self:
        """Match unpaused chunks that are due."""
        return super().due().unpaused()

    def to_follow_up(self) -> Self:
        """Match chunks with rows to be retried that are not yet in a batch of the next attempt."""
        return self.exclude(to_retry=[])

    def with_failures(self) -> Self:
        """Match chunks with rows that failed for good."""
        return self.filter(failed_count__gt=0)

    def locked_failures(self, batch_id: int, **lookups: Any) -> Self:
        """Return the batch's chunks that are done and have rows that failed for good, locked in order of their keys.

        A first query finds the chunks and a second one locks them by primary key: MySQL also locks rows that do not
        match, which other processes may be using.
        """
        done = self.with_failures().filter(batch=batch_id, done_at__isnull=False, **lookups)
        return self.filter(pk__in=list(done.values_list("pk", flat=True))).order_by("pk").select_for_update()

    def retry_now(self) -> int:
        """Make these chunks due now, including stuck ones, and return their number."""
        return self.update(next_action_at=DatabaseNow(), failures=0)

    def start_delivery(self, batch: Any) -> None:
        """Create the chunks that deliver a run's batch: all results, or those that arrived since the last delivery.

        Call it inside a transaction. If the run is over, the results are delivered, but no row is retried.
        """
        rows = self.primary()
        if batch.run_id is None:
            return
        begun = rows.filter(batch=batch).exists()
        cut = self._create_late_chunks(batch) if begun else self.create_chunks(batch)
        if cut and JobRun.objects.using(rows.db).filter(pk=batch.run_id, state__in=ACTIVE).exists():
            type(batch).objects.using(rows.db).filter(pk=batch.pk).update(delivered_at=None)

    def _create_late_chunks(self, batch: Any) -> int:
        """Create chunks of requests that failed for lack of a result and have one now. Return the number of chunks.

        Requests that have been retried are no longer failures: their rows get the answer of the retry.
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
        """Create a chunk of the requests at these ascending positions, inside the caller's transaction."""
        self.primary().create(
            batch=batch,
            mode=mode,
            position=positions[0],
            last_position=positions[-1],
            positions=positions,
            next_action_at=DatabaseNow(),
        )

    def create_chunks(self, batch: Any, mode: DeliveryMode = DeliveryMode.FIRST) -> int:
        """Create the chunks of a batch's requests, inside the caller's transaction. Return the number of chunks.

        Positions run from 0 without a gap: requests are added only while a draft is created.
        """
        return self.create_chunks_between(batch.pk, 0, batch.request_count - 1, mode)

    def create_chunks_between(self, batch_id: int, first: int, last: int, mode: DeliveryMode) -> int:
        """Create the chunks of the requests from position `first` to `last`, inclusive. Return the number of chunks."""
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


class DeliveryChunk(WorkItem):
    """Consecutive requests of a batch whose results one task delivers.

    `failures` is incremented when an attempt begins, because a process that is killed cannot count its failure.
    """

    batch = models.ForeignKey("MessageBatch", on_delete=models.CASCADE, related_name="deliveries")
    mode = models.CharField(max_length=10, choices=DeliveryMode.choices, default=DeliveryMode.FIRST)
    position = models.PositiveIntegerField(_("next position"))
    last_position = models.PositiveIntegerField(_("last position"))
    positions = models.JSONField(null=True, blank=True, help_text=_("If set, only the requests at these positions."))
    done_at = models.DateTimeField(_("done at"), null=True, blank=True)
    outcomes = models.JSONField(default=dict, help_text=_("How many requests had each outcome."))
    delivered_count = models.PositiveIntegerField(
        _("delivered"),
        default=0,
        help_text=_("Rows whose handler accepted the answer, unless they already counted as delivered."),
    )
    failed_count = models.PositiveIntegerField(_("failed"), default=0)
    failed_outcomes = models.JSONField(default=dict, help_text=_("How many of the failed rows had each outcome."))
    invalid_count = models.IntegerField(
        default=0,
        help_text=_("Answers that do not fit their schema, less those that fit it when they were redelivered."),
    )
    gone_count = models.PositiveIntegerField(_("target deleted"), default=0)
    to_retry = models.JSONField(
        default=list, help_text=_("Positions that are retried, each with the change to its request.")
    )
    failed = models.JSONField(default=list, help_text=_("Positions that failed for good, each with its outcome."))

    objects = DeliveryChunkQuerySet.as_manager()

    class Meta:
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")
        default_permissions = ()
        constraints = [
            # A chunk that is not done has a next action, or an error that says why it has none.
            models.CheckConstraint(
                condition=Q(done_at__isnull=False) | Q(next_action_at__isnull=False) | ~Q(last_error=""),
                name="dcb_delivery_due",
            )
        ]
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.position}-{self.last_position} of batch {self.batch_id}"

    def withdraw_failures(self, positions: Iterable[int]) -> None:
        """Stop counting these positions as failed. Call it inside a transaction, and only if the chunk is done."""
        self._remove_failures(positions)
        self.save(using=DeliveryChunk.objects.primary().db, update_fields=[*FAILURE_COLUMNS, "outcomes"])

    def mark_for_retry(self, changes: Mapping[int, str]) -> None:
        """Stop counting these positions as failed, and mark them for retry, each with the change to its request.

        Call it inside a transaction, and only if the chunk is done.
        """
        self._remove_failures(changes)
        self.to_retry = [*self.to_retry, *([position, change] for position, change in changes.items())]
        self.save(using=DeliveryChunk.objects.primary().db, update_fields=[*FAILURE_COLUMNS, "to_retry"])

    def _remove_failures(self, positions: Iterable[int]) -> None:
        taken = set(positions)
        for name, value in failure_columns([failed for failed in self.failed if failed[0] not in taken]).items():
            setattr(self, name, value)


class FailedDelivery(models.Model):
    """A failed delivery: a request whose handler raised.

    What the handler wrote is rolled back, and it is called again only when a person requests redelivery.
    """

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
        default=False, editable=False, help_text=_("Whether the row already counted as delivered before this failure.")
    )

    objects = PrimaryQuerySet["FailedDelivery"].as_manager()

    class Meta:
        verbose_name = _("failed delivery")
        verbose_name_plural = _("failed deliveries")
        default_permissions = ()
        indexes = [models.Index(fields=["batch", "position"], name="dcb_parked_position")]

    def __str__(self) -> str:
        return f"{self.position}: {self.error}"

    @property
    def raised(self) -> str:
        """Return the error in a form that `error_text.public_part` can reduce to its type and place."""
        place, mark, words = self.traceback.partition(TRACEBACK_START)
        head = place.strip() if mark else ""
        first = head or self.error.partition(":")[0]
        return f"{first}\n{TRACEBACK_START}\n{self.error}\n{words.strip() if mark else place}"
