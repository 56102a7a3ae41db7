"""Which batches RETENTION has expired for, and which of them are kept anyway."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db.models import Case, Exists, F, OuterRef, Q, Subquery, When
from django.db.models.functions import Coalesce

from django_claude_batches.db.leases import now_plus
from django_claude_batches.models import (
    BatchEvent,
    BatchRequest,
    DeliveryChunk,
    FailedDelivery,
    JobRun,
    MessageBatch,
    State,
    SubmitAttempt,
)
from django_claude_batches.models.batch.batch import MessageBatchQuerySet
from django_claude_batches.models.large_columns import EXCERPTS, MESSAGES, PARAMS, LargeColumns
from django_claude_batches.models.run import ACTIVE
from django_claude_batches.services.polling.loss import RESULTS_LAST

COMPLETE = Q(state=State.INGESTED, announced_at__isnull=False)
# A receiver of the project kept raising: what it did not handle is not stored anywhere else.
# Missing results are no such error, and are described in `last_error`.
RECEIVER_FAILED = Q(state=State.INGESTED) & ~Q(last_error="") & ~Q(last_error=F("missing_reason"))

_of_batch: dict[str, Any] = {"batch": OuterRef("pk")}
# A run may ask its requests again, or there are results that its job has not taken.
NOT_DELIVERED = (
    Q(Exists(JobRun.objects.filter(pk=OuterRef("run"), state__in=ACTIVE)))
    | Q(Exists(DeliveryChunk.objects.undone().filter(**_of_batch)))
    | Q(Exists(FailedDelivery.objects.filter(**_of_batch)))
)

# Timeline events of a batch that is final without being complete.
FINAL_EVENTS = ("lost", "deleted_at_anthropic", "abandoned")


@dataclass(frozen=True)
class BodyKind:
    """One kind of body: its model, which batches keep it, and the columns that hold it.

    `counted_by` is the batch's column with their number, `words` the timeline's text when they are purged, and
    `of_batch` what of the batch's own row is purged with them.
    """

    name: str
    finished: Q
    kept: Q
    bodies: tuple[LargeColumns, ...]
    counted_by: str
    words: str
    of_batch: dict[str, Any] = field(default_factory=dict)

    @property
    def began_at(self) -> str:
        return f"{self.name}_purge_began_at"

    @property
    def purged_at(self) -> str:
        return f"{self.name}_bodies_purged_at"

    @property
    def purgeable(self) -> Q:
        """Match batches from which a chunk may be purged, without conditions about time, for an UPDATE."""
        return self.finished & ~self.kept & Q(**{f"{self.purged_at}__isnull": True})


REQUEST_BODIES = BodyKind(
    "request",
    finished=COMPLETE | Q(state__in=[State.LOST, State.ABANDONED]),
    kept=Q(missing_count__gt=0) | RECEIVER_FAILED | NOT_DELIVERED | ~Q(identified_id=""),
    bodies=(PARAMS,),
    counted_by="request_count",
    words="RETENTION says that requests are not to be kept: what was asked is gone.",
    of_batch={"cells_header": []},
)
RESULT_BODIES = BodyKind(
    "result",
    finished=COMPLETE | Q(state=State.LOST),
    kept=RECEIVER_FAILED | NOT_DELIVERED,
    bodies=(MESSAGES, EXCERPTS),
    counted_by="succeeded_count",
    words="RETENTION says that results are not to be kept: what was answered is gone; tokens and counts stay.",
)


def expired(kind: BodyKind, alias: str, delay: timedelta) -> MessageBatchQuerySet:
    """Match an account's batches that finished so long ago and were not purged, including those that keep it."""
    rows = _finished(alias, kind.finished, delay).filter(**{f"{kind.purged_at}__isnull": True})
    if kind is REQUEST_BODIES:  # batches created elsewhere have none
        rows = rows.filter(Exists(BatchRequest.objects.using(rows.db).filter(batch=OuterRef("pk"))))
    return rows


def expired_remotely(alias: str, delay: timedelta) -> MessageBatchQuerySet:
    """Match complete batches that we created, and that are still at Anthropic with their results.

    Batches created elsewhere are not ours to delete; after 29 days only the counts are left there.
    """
    rows = _finished(alias, COMPLETE, delay).filter(
        remote_deleted_at__isnull=True,
        delete_requested_at__isnull=True,
        archived_at__isnull=True,
        created_at__gt=now_plus(-RESULTS_LAST),
    )
    ours = SubmitAttempt.objects.using(rows.db).filter(batch=OuterRef("pk"), remote_id=OuterRef("anthropic_id"))
    return rows.filter(Exists(ours))


KEPT_REMOTELY = Q(missing_count__gt=0) | RECEIVER_FAILED


def _finished(alias: str, finished: Q, delay: timedelta) -> MessageBatchQuerySet:
    rows = MessageBatch.objects.primary().filter(finished, account=alias).order_by("pk")
    said = BatchEvent.objects.using(rows.db).filter(batch=OuterRef("pk"), what__in=FINAL_EVENTS).order_by("-pk")
    otherwise = Coalesce(Subquery(said.values("at")[:1]), F("drafted_at"))
    finished_at = Case(When(state=State.INGESTED, then=F("announced_at")), default=otherwise)
    return rows.alias(finished_at=finished_at).filter(finished_at__lte=now_plus(-delay))
