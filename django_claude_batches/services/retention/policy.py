"""Which batches have something that RETENTION gives up, and which of these keep it all the same."""

from __future__ import annotations

from dataclasses import dataclass
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
RECEIVER_FAILED = Q(state=State.INGESTED) & ~Q(last_error="") & ~Q(last_error=F("missing_reason"))
"""A receiver of the app's kept raising: what it did not take is not stored anywhere else.

That results are missing is no such error, and stays in `last_error`.
"""

_of_batch: dict[str, Any] = {"batch": OuterRef("pk")}
NOT_DELIVERED = (
    Q(Exists(JobRun.objects.filter(pk=OuterRef("run"), state__in=ACTIVE)))
    | Q(Exists(DeliveryChunk.objects.undone().filter(**_of_batch)))
    | Q(Exists(FailedDelivery.objects.filter(**_of_batch)))
)
"""A run may ask its requests again, or there are results that its job has not taken."""

FINAL_EVENTS = ("lost", "deleted_at_anthropic", "abandoned")
"""What the timeline says when a batch is finished without being complete."""


@dataclass(frozen=True)
class BodyKind:
    """One kind of bodies: whose they are, who of these keeps them, and where they stand.

    `counted_by` is the column of a batch that says how many there are, `words` what the timeline says when they go.
    """

    name: str
    finished: Q
    kept: Q
    bodies: tuple[LargeColumns, ...]
    counted_by: str
    words: str

    @property
    def began_at(self) -> str:
        return f"{self.name}_purge_began_at"

    @property
    def purged_at(self) -> str:
        return f"{self.name}_bodies_purged_at"

    @property
    def purgeable(self) -> Q:
        """Match what a chunk may be taken from; without anything about time, for an UPDATE."""
        return self.finished & ~self.kept & Q(**{f"{self.purged_at}__isnull": True})


REQUEST_BODIES = BodyKind(
    "request",
    finished=COMPLETE | Q(state__in=[State.LOST, State.ABANDONED]),
    kept=Q(missing_count__gt=0) | RECEIVER_FAILED | NOT_DELIVERED | ~Q(identified_id=""),
    bodies=(PARAMS,),
    counted_by="request_count",
    words="RETENTION says that requests are not to be kept: what was asked is gone.",
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
    """Match an account's batches that were finished so long ago, and were not purged; those that keep it too."""
    rows = _finished(alias, kind.finished, delay).filter(**{f"{kind.purged_at}__isnull": True})
    if kind is REQUEST_BODIES:  # one that was made elsewhere has none
        rows = rows.filter(Exists(BatchRequest.objects.using(rows.db).filter(batch=OuterRef("pk"))))
    return rows


def expired_remotely(alias: str, delay: timedelta) -> MessageBatchQuerySet:
    """Match complete batches that we made, and that are still at Anthropic with their results.

    Those that were made elsewhere are somebody else's; after 29 days nothing but the counts is left there.
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
