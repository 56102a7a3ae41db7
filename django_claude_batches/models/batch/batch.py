"""The model `MessageBatch` and its queryset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from django.conf import settings
from django.db import models, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext_lazy as _

from django_claude_batches.db.leases import is_free
from django_claude_batches.drafting.body import BodySize
from django_claude_batches.drafting.request import DraftRequest, Prepared, check_header, checked
from django_claude_batches.error_text import one_line
from django_claude_batches.models import bulk
from django_claude_batches.models.attempt import SubmitAttempt
from django_claude_batches.models.batch import attention
from django_claude_batches.models.batch.columns import PurgeColumns, RemoteColumns, RunColumns
from django_claude_batches.models.batch.constraints import STATE_CONSTRAINTS
from django_claude_batches.models.batch.queryset import BatchStateQuerySet
from django_claude_batches.models.batch.state_machine import StateMachine
from django_claude_batches.models.batch_state import (
    ALWAYS_DUE,
    DELETABLE,
    EXPLANATIONS,
    FETCHING,
    IDENTIFIABLE,
    MAY_HAVE_BEEN_BILLED,
    NOT_SENT_YET,
    State,
)
from django_claude_batches.models.delivery import DeliveryChunk, FailedDelivery
from django_claude_batches.models.event import BatchEvent, user_name
from django_claude_batches.models.expected_usage import ExpectedUsageColumns
from django_claude_batches.models.fields import (
    IdentifierField,
    IdentifierSlugField,
    StorableCharField,
    StorableTextField,
)
from django_claude_batches.models.request import BatchRequest
from django_claude_batches.models.result import BatchResult, ResultProblem
from django_claude_batches.models.usage import Summary, UsageRollup

# Values that withdraw the intents to cancel or delete a batch.
NO_INTENT: dict[str, Any] = {"cancel_requested_at": None, "delete_requested_at": None, "discard_results": False}

# What `save` writes for an existing batch.
EDITABLE_FIELDS = ("kind", "label", "account", "betas", "anthropic_version", "user_profile_id")


class MessageBatchQuerySet(BatchStateQuerySet["MessageBatch"]):
    def create_draft(
        self,
        requests: Iterable[DraftRequest | Mapping[str, Any] | Prepared],
        *,
        kind: str = "",
        label: str = "",
        account: str = "default",
        created_by: Any = None,
        betas: Sequence[str] = (),
        anthropic_version: str = "",
        user_profile_id: str = "",
        parent: MessageBatch | None = None,
        cells_header: Sequence[str] = (),
        rows_are_replicas: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> MessageBatch:
        """Create a draft with its requests, in one transaction and in constant memory. Nothing is sent.

        `requests` is any iterable of dicts with the keys of `DraftRequest`; it is read once, and may query the
        database. `betas` are names for the `anthropic-beta` header; `anthropic_version` defaults to the account's.
        `progress` is called from time to time with the number of requests stored.

        `cells_header` names the columns of the requests' `cells`, in their order.

        A target is identified by its model and key, and looked up again in the database that the model is written to.
        Set `rows_are_replicas` if targets that were read from another database are the same rows.

        Raise InvalidRequest, with the item's position and custom_id, if the API would refuse a request or a target
        belongs to another database. Raise LimitExceeded for more than 100,000 requests or 256,000,000 bytes. In both
        cases no row is stored.
        """
        for beta in betas:
            check_header("a beta", beta)
        if user_profile_id:
            check_header("user_profile_id", user_profile_id)
        db = self.primary().db
        with transaction.atomic(using=db):
            batch = self.using(db).create(
                kind=kind,
                label=label,
                account=account,
                betas=list(betas),
                anthropic_version=anthropic_version,
                user_profile_id=user_profile_id,
                parent=parent,
                cells_header=list(cells_header),
                created_by=created_by,
                created_by_name=user_name(created_by),
            )
            tally = BodySize()
            items = checked(requests, using=db, rows_are_replicas=rows_are_replicas)
            for stored in bulk.insert(batch.pk, items, tally, using=db):
                if progress is not None:
                    progress(stored)
            batch.request_count, batch.body_bytes = tally.requests, tally.bytes
            batch.expected_usage = tally.expected.stored()
            batch.save(using=db, update_fields=["request_count", "body_bytes", "expected_usage"])
            batch.log_event("drafted", f"{tally.requests:,} requests, {tally.bytes:,} bytes", by=created_by)
        return batch

    def delete(self) -> tuple[int, dict[str, int]]:
        """Delete the batches as `MessageBatch.delete` does, in one transaction.

        Raise InvalidTransition, and delete none of them, if any batch may not be deleted.
        """
        db = self.primary().db
        with transaction.atomic(using=db):
            pks = list(self.using(db).order_by().values_list("pk", flat=True))
            for batch in self.model.objects.using(db).filter(pk__in=pks).exclude(state__in=DELETABLE)[:1]:
                raise batch.forbidden("delete", DELETABLE)
            totals: Counter[str] = Counter()
            for pk in pks:
                totals.update(self.model.objects.using(db).get(pk=pk).delete()[1])
        return totals.total(), dict(totals)

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]


class MessageBatch(StateMachine, RemoteColumns, ExpectedUsageColumns, RunColumns, PurgeColumns):
    """A batch: a local draft, its processing at Anthropic, and the results of its requests.

    Fields that mirror the remote batch hold Anthropic's values and times. The state is local; CHECK constraints keep it
    consistent with these fields.
    """

    kind = IdentifierSlugField(
        _("kind"), max_length=100, blank=True, help_text=_("What the batch is for, set by code.")
    )
    label = models.CharField(_("label"), max_length=200, blank=True, help_text=_("A name for people."))
    account = IdentifierField(_("account"), max_length=64, default="default")
    betas = models.JSONField(_("betas"), default=list, blank=True)
    anthropic_version = models.CharField(_("API version"), max_length=20, blank=True)
    user_profile_id = models.CharField(_("user profile id"), max_length=127, blank=True)
    drafted_at = models.DateTimeField(_("drafted at"), default=timezone.now, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("created by"),
    )
    created_by_name = models.CharField(_("created by"), max_length=150, blank=True)
    parent = models.ForeignKey(
        "self", on_delete=models.SET_NULL, null=True, blank=True, related_name="retries", verbose_name=_("retries")
    )
    cells_header = models.JSONField(
        default=list, blank=True, editable=False, help_text=_("Column names of the requests' cells.")
    )
    request_count = models.PositiveIntegerField(_("requests"), default=0)
    body_bytes = models.PositiveBigIntegerField(_("bytes"), default=0)
    missing_count = models.PositiveIntegerField(_("missing"), default=0)
    missing_reason = StorableTextField(
        blank=True, default="", editable=False, help_text=_("Why a complete batch lacks results.")
    )
    error_groups = models.JSONField(
        null=True, editable=False, help_text=_("Errored results by error type, as of the last fetch.")
    )
    result_counts = models.JSONField(
        null=True,
        editable=False,
        help_text=_("Results by type and stop reason, as of the last fetch."),
    )
    cost_usd = models.DecimalField(_("cost (USD)"), max_digits=18, decimal_places=9, null=True, blank=True)
    prices_as_of = models.DateField(_("prices of"), null=True, blank=True)
    queued_at = models.DateTimeField(_("queued at"), null=True, blank=True)
    cancel_requested_at = models.DateTimeField(_("cancel requested at"), null=True, blank=True)
    delete_requested_at = models.DateTimeField(_("deletion requested at"), null=True, blank=True)
    discard_results = models.BooleanField(
        _("discard results"), default=False, help_text=_("Delete at Anthropic without fetching the results first.")
    )
    workspace_id = StorableCharField(_("Workspace"), max_length=100, blank=True, default="")
    misses = models.PositiveIntegerField(
        default=0, editable=False, help_text=_("Consecutive times that the batch was not found.")
    )
    missed_at = models.DateTimeField(_("missed since"), null=True, blank=True, editable=False)
    may_have_been_billed = models.BooleanField(
        _("may have been billed"),
        default=False,
        editable=False,
        help_text=_("It was sent, and the outcome can no longer be found out: sending it again may pay twice."),
    )
    alarmed_at = models.DateTimeField(_("alarm raised at"), null=True, blank=True, editable=False)
    identified_id = IdentifierField(
        _("identified id"),
        max_length=128,
        blank=True,
        default="",
        help_text=_("The id at Anthropic that a person entered, until it is verified."),
    )
    ingested_at = models.DateTimeField(_("ingested at"), null=True, blank=True)
    announced_at = models.DateTimeField(_("announced at"), null=True, blank=True)
    remote_deleted_at = models.DateTimeField(_("deleted at Anthropic"), null=True, blank=True)

    objects = MessageBatchQuerySet.as_manager()

    class Meta:
        verbose_name = _("batch")
        verbose_name_plural = _("batches")
        permissions = [
            ("submit_messagebatch", "Can submit batches to Claude"),
            ("cancel_messagebatch", "Can cancel and take back batches"),
            ("delete_remote_messagebatch", "Can delete batches at Anthropic"),
            ("advance_messagebatch", "Can check batches now"),
            ("reingest_messagebatch", "Can fetch results again"),
            ("retry_messagebatch", "Can retry rows of batches"),
            ("identify_messagebatch", "Can identify and abandon unconfirmed batches"),
        ]
        constraints = STATE_CONSTRAINTS
        indexes = [models.Index(fields=["account", "ended_at"], name="dcb_batch_account_ended")]

    def __str__(self) -> str:
        name = self.label or self.kind or self.anthropic_id or ""
        return f'#{self.pk} "{name}"' if name else f"#{self.pk}"

    @property
    def stored_count(self) -> int:
        """Return the number of stored results. One query."""
        return self.results.count()

    def count_missing(self, summary: Summary | None = None) -> int:
        """Count the requests without a result, in up to two queries.

        A batch that was made elsewhere has no request rows: its `request_count` is compared with the stored results.
        """
        using = type(self).objects.primary().db
        known = summary or UsageRollup.objects.using(using).sum_up(self.pk)
        has_requests = self.requests.using(using).exists()
        return max(self.request_count - (known.answered if has_requests else known.stored), 0)

    @property
    def is_live(self) -> bool:
        """Return whether the batch still changes without a person."""
        return self.state in ALWAYS_DUE or (self.state == State.INGESTED and self.announced_at is None)

    @property
    def job(self) -> str:
        """Return the name of the job whose run made the batch; empty for other batches, whose `kind` is their own."""
        return self.kind if self.run_id is not None else ""

    @property
    def is_being_identified(self) -> bool:
        """Return whether a person identified the batch and a worker has yet to verify that."""
        return bool(self.identified_id) and self.state in IDENTIFIABLE

    @property
    def was_complete(self) -> bool:
        """Return whether the results were stored and announced before, and are being fetched again."""
        return self.state in FETCHING and self.announced_at is not None

    @property
    def explanation(self) -> str:
        """Return what the state means, as text for people. One query while results are fetched, otherwise none."""
        state = State(self.state)
        if state == State.HELD and self.may_have_been_billed:
            return one_line(self.last_error) or str(MAY_HAVE_BEEN_BILLED)
        words = NOT_SENT_YET if state == State.QUEUED and self.last_error else EXPLANATIONS[state]
        return str(words).format(
            last_error=one_line(self.last_error),
            expires_at=_moment(self.expires_at),
            next_action_at=_moment(self.next_action_at),
            total=f"{self.request_count:,}",
            stored=f"{self.stored_count if state in FETCHING else self.request_count - self.missing_count:,}",
        )

    def attention(self) -> str:
        """Return why this batch needs attention, as text; empty if it does not. One query."""
        rows = attention.with_reason(type(self).objects.primary().filter(pk=self.pk))
        # Use this instance: its texts may have been reduced to what a user may see.
        noted: Any = self
        found = rows.values_list("attention_reason", "pause_reason").first()
        noted.attention_reason, noted.pause_reason = found or ("", "")
        return attention.in_words(self)

    @property
    def last_attempt(self) -> SubmitAttempt | None:
        return self.attempts.using(type(self).objects.primary().db).last()

    def log_event(self, what: str, text: str = "", *, by: Any = None) -> BatchEvent:
        """Log an event in the timeline. Without `by`, the event is attributed to the app itself."""
        return BatchEvent.objects.primary().create(batch=self, by=by, by_name=user_name(by), what=what, text=text)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the fields that people may change.

        The other columns are written only by conditional UPDATEs, so that a stale instance does not overwrite them.
        """
        if not self._state.adding and not args and not kwargs.get("force_insert"):
            kwargs.setdefault("update_fields", EDITABLE_FIELDS)
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Delete the batch from this database with its rows, but keep its usage. Nothing is deleted at Anthropic.

        Raise InvalidTransition if the state is not in `DELETABLE`, while another process holds the lease, and while a
        job's run adds requests to the batch, needs it or delivers its results.

        The rows are deleted in a few statements: Django's Collector would load all of them first.
        """
        rows = type(self).objects.primary()
        with transaction.atomic(using=rows.db):
            locked = rows.filter(is_free(), pk=self.pk, state__in=DELETABLE)
            if not locked.update(next_action_at=F("next_action_at")) and rows.filter(pk=self.pk).exists():
                self.refresh_from_db(using=rows.db)
                at_work = "another process is at work on it: try again in a moment." if self.state in DELETABLE else ""
                raise self.forbidden("delete", DELETABLE, at_work)
            if why := self.needed_for(using=rows.db):
                raise self.forbidden("delete", DELETABLE, why)
            return self.erase(keep_usage=True)

    def erase(self, *, keep_usage: bool = False) -> tuple[int, dict[str, int]]:
        """Delete the batch with all its rows, in any state. Call it inside a transaction that has locked the row.

        With `keep_usage` the usage rows stay, without a batch, so that the sums still include its cost.
        """
        using = type(self).objects.primary().db
        counts: dict[str, int] = {}
        usage = () if keep_usage else (UsageRollup,)
        for child in (FailedDelivery, DeliveryChunk, BatchResult, ResultProblem, *usage, BatchEvent, BatchRequest):
            counts[child._meta.label] = bulk.delete_rows(child, self.pk, using=using)
        _deleted, own = super().delete(using=using)
        counts |= own
        return sum(counts.values()), {label: count for label, count in counts.items() if count}


def _moment(at: Any) -> str:
    """Return a time for people, without the full stop of "p.m.", because the sentence ends with one."""
    return date_format(timezone.localtime(at), "DATETIME_FORMAT").removesuffix(".") if at else "…"
