from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

# Models do not import `conf`, with this one exception in .importlinter: a setting decides which answers are complete.
from django_claude_batches import conf, wire
from django_claude_batches.db.leases import PrimaryQuerySet
from django_claude_batches.models.fields import IdentifierField
from django_claude_batches.models.request import BatchRequest, match_targets

# Stop reasons of incomplete answers that have their own outcome. With any other, an incomplete answer is unfinished.
ENDED_EARLY = {"max_tokens": "truncated", "refusal": "refused"}


class ResultType(models.TextChoices):
    """The API's current result types. Others are stored as they are."""

    SUCCEEDED = "succeeded", _("Succeeded")
    ERRORED = "errored", _("Errored")
    CANCELED = "canceled", _("Canceled")
    EXPIRED = "expired", _("Expired")


# Results that cost nothing (docs/reference/wire.md §3.5). Refusals and truncated answers cost the tokens they used.
UNBILLED = frozenset({ResultType.ERRORED, ResultType.CANCELED, ResultType.EXPIRED})


def early_outcome(stop_reason: str) -> str:
    """Return "truncated", "refused" or "unfinished" for the stop reason of an incomplete answer, otherwise ""."""
    if stop_reason in wire.WHOLE_STOP_REASONS or stop_reason in conf.whole_stop_reasons():
        return ""
    return ENDED_EARLY.get(stop_reason, "unfinished")


def outcome_of(result_type: str, stop_reason: str) -> str:
    """Return a result's outcome by these columns. They do not tell whether the answer fits its job's schema."""
    return (early_outcome(stop_reason) if result_type == ResultType.SUCCEEDED else "") or result_type


def ended_as(outcome: str, *, to_result: str = "") -> Q:
    """Match the answers for which `early_outcome` returns this outcome; with "", those that are complete.

    `to_result` is the lookup that leads to the results, such as `result__`. Settings are read when this is called.
    """
    whole = sorted(conf.whole_stop_reasons())
    reason = f"{to_result}stop_reason"
    if outcome == "":
        stopped = Q(**{f"{reason}__in": whole})
    elif outcome == "unfinished":
        stopped = ~Q(**{f"{reason}__in": [*whole, *ENDED_EARLY]})
    else:
        stopped = Q(**{f"{reason}__in": [name for name, early in ENDED_EARLY.items() if early == outcome]})
    return Q(**{f"{to_result}result_type": ResultType.SUCCEEDED}) & stopped


# Values of `service_tier` for an answer with the batch discount; some gateways omit it.
BATCH_TIERS = ("batch", "")


def text_of(message: Any) -> str:
    """Return all text blocks of a message, concatenated."""
    content = message.get("content") if isinstance(message, dict) else None
    blocks: list[Any] = content if isinstance(content, list) else []
    texts = [block.get("text") for block in blocks if isinstance(block, dict) and block.get("type") == "text"]
    return "".join(text for text in texts if isinstance(text, str))


class BatchResultQuerySet(PrimaryQuerySet["BatchResult"]):
    def succeeded(self) -> BatchResultQuerySet:
        """Match results with a message.

        The message may be truncated, refused or unfinished: the API counts these as succeeded and bills them.
        """
        return self.filter(result_type=ResultType.SUCCEEDED)

    def errored(self) -> BatchResultQuerySet:
        return self.filter(result_type=ResultType.ERRORED)

    def canceled(self) -> BatchResultQuerySet:
        return self.filter(result_type=ResultType.CANCELED)

    def expired(self) -> BatchResultQuerySet:
        return self.filter(result_type=ResultType.EXPIRED)

    def truncated(self) -> BatchResultQuerySet:
        """Match answers cut off at `max_tokens`."""
        return self.filter(ended_as("truncated"))

    def refused(self) -> BatchResultQuerySet:
        return self.filter(ended_as("refused"))

    def unfinished(self) -> BatchResultQuerySet:
        """Match answers whose stop reason is not in WHOLE_STOP_REASONS, and that are neither truncated nor refused."""
        return self.filter(ended_as("unfinished"))

    def ended_early(self) -> BatchResultQuerySet:
        """Match answers that are truncated, refused or unfinished."""
        return self.succeeded().exclude(stop_reason__in=conf.whole_stop_reasons())

    def of_another_tier(self) -> BatchResultQuerySet:
        """Match answers whose `service_tier` is not `batch`: they may have been billed without the batch discount."""
        return self.exclude(service_tier__in=BATCH_TIERS)

    def of_unknown_cost(self) -> BatchResultQuerySet:
        """Match results whose cost is not known, so that their batch's cost is not known either."""
        return self.filter(cost_usd__isnull=True)

    def invalid_output(self) -> BatchResultQuerySet:
        """Match answers that do not fit their job's schema; `output_error` says why, until RETENTION removes it."""
        return self.filter(output_error__isnull=False)

    def usable(self) -> BatchResultQuerySet:
        """Match complete answers that fit their job's schema, if it has one."""
        return self.filter(ended_as(""), output_error__isnull=True)

    def latest_success(self) -> BatchResult | None:
        """Return the usable result that was stored last, or None. Its message may have been purged.

        Results of a run are considered only after their batch was delivered: before, their output is not validated.
        """
        unchecked = Q(batch__run__isnull=False, batch__delivered_at__isnull=True)
        return self.usable().exclude(unchecked).order_by("-pk").first()

    def of_job(self, name: str) -> BatchResultQuerySet:
        """Match the results of a job's batches, by its name."""
        return self.of_kind(name)

    def of_kind(self, kind: str) -> BatchResultQuerySet:
        """Match the results of batches of a kind."""
        return self.filter(batch__kind=kind)

    def for_target(self, target: models.Model) -> BatchResultQuerySet:
        return self.for_targets([target])

    def for_targets(self, targets: Iterable[models.Model]) -> BatchResultQuerySet:
        """Match results about any of these rows, of one or more models, in one query. For one page of rows at most."""
        return self.filter(match_targets(targets, "request__", using=self.db))

    def with_target(self) -> BatchResultQuerySet:
        """Prefetch the targets: two queries for each model of targets, whatever the number of results."""
        return self.prefetch_related("request__target")

    def in_request_order(self) -> BatchResultQuerySet:
        """Order the results as their requests were drafted; the API returns them in any order."""
        return self.order_by(F("request__position").asc(nulls_last=True), "pk")


class BatchResult(models.Model):
    """The result of one request: the whole line of the batch's results, and columns for what people filter by.

    Token columns are numbers of tokens. `cost_usd` is in USD, by the prices on the day the result was stored; null if
    unknown.
    """

    # No foreign key constraints in the database: PostgreSQL would spend a third of an ingest on checking them, and lock
    # the row of each request by writing to it. Rows are inserted only under a lease on their batch, whose row the same
    # transaction has locked, and are deleted with it, results first (MessageBatch.delete).
    batch = models.ForeignKey(
        "MessageBatch",
        on_delete=models.CASCADE,
        related_name="results",
        verbose_name=_("batch"),
        db_constraint=False,
        db_index=False,  # the two indexes on (batch, …) serve it
    )
    request = models.OneToOneField(
        BatchRequest,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        null=True,
        blank=True,
        related_name="result",
        verbose_name=_("request"),
        help_text=_("Empty for a batch that was made elsewhere: its requests cannot be read back."),
    )
    custom_id = IdentifierField(_("custom_id"), max_length=wire.MAX_CUSTOM_ID_LENGTH)
    result_type = models.CharField(_("outcome"), max_length=40)
    message = models.JSONField(_("message"), null=True, blank=True)
    output = models.JSONField(_("output"), null=True, blank=True)
    # Null and not "": an ingest does not write this column.
    output_error = models.TextField(_("output error"), null=True, blank=True)  # noqa: DJ001
    stop_reason = IdentifierField(_("stop reason"), max_length=60, blank=True)
    model = IdentifierField(_("model"), max_length=100, blank=True)
    input_tokens = models.BigIntegerField(_("input tokens"), null=True, blank=True)
    output_tokens = models.BigIntegerField(_("output tokens"), null=True, blank=True)
    cache_write_5m_tokens = models.BigIntegerField(_("cache write tokens (5 minutes)"), null=True, blank=True)
    cache_write_1h_tokens = models.BigIntegerField(_("cache write tokens (1 hour)"), null=True, blank=True)
    cache_read_tokens = models.BigIntegerField(_("cache read tokens"), null=True, blank=True)
    web_search_requests = models.BigIntegerField(_("web searches"), null=True, blank=True)
    service_tier = IdentifierField(_("service tier"), max_length=40, blank=True)
    inference_geo = IdentifierField(_("inference geo"), max_length=40, blank=True)
    cost_usd = models.DecimalField(_("cost (USD)"), max_digits=18, decimal_places=9, null=True, blank=True)
    error_type = IdentifierField(_("error type"), max_length=100, blank=True)
    error_message = models.TextField(_("error message"), blank=True)
    error_request_id = models.CharField(_("request id of the error"), max_length=100, blank=True)
    raw = models.BinaryField(
        _("original line"),
        null=True,
        blank=True,
        help_text=_("The line as it was received, if something in it had to be changed before it could be stored."),
    )

    objects = BatchResultQuerySet.as_manager()

    class Meta:
        verbose_name = _("result")
        verbose_name_plural = _("results")
        constraints = [models.UniqueConstraint(fields=["batch", "custom_id"], name="dcb_result_custom_id")]
        indexes = [models.Index(fields=["batch", "result_type"], name="dcb_result_type")]

    def __str__(self) -> str:
        return f"{self.custom_id}: {self.outcome}"

    @property
    def text(self) -> str:
        """Return all text blocks of the answer, concatenated, without thinking blocks.

        Empty if there is no answer or it was purged; then `purge_note` says when.
        """
        return text_of(self.message)

    @property
    def outcome(self) -> str:
        """Return the outcome of the request: its result type, except for answers that cannot be used.

        These are truncated, refused, unfinished (any other stop reason that is not in WHOLE_STOP_REASONS), and
        invalid_output: the answer does not fit its job's schema.
        """
        outcome = outcome_of(self.result_type, self.stop_reason)
        is_invalid = outcome == ResultType.SUCCEEDED and self.output_error is not None
        return "invalid_output" if is_invalid else outcome

    @property
    def is_off_tier(self) -> bool:
        """Return whether the answer was not billed at the batch rate."""
        return self.service_tier not in BATCH_TIERS

    @property
    def purge_note(self) -> str:
        """Return when the message or error text was purged or erased, as text; empty otherwise."""
        is_answer_gone = self.result_type == ResultType.SUCCEEDED and self.message is None
        is_error_gone = self.result_type == ResultType.ERRORED and not self.error_message
        if not is_answer_gone and not is_error_gone:
            return ""
        return self.batch.result_purge_note or ("" if self.request is None else self.request.erasure_note)

    @property
    def target(self) -> models.Model | None:
        """Return the row that the request is about; None if it had no target, or the target was deleted."""
        found: models.Model | None = self.request.target if self.request else None
        return found


class ResultProblem(models.Model):
    """A line of a batch's results that could not be stored as a result. The other lines are not affected."""

    batch = models.ForeignKey("MessageBatch", on_delete=models.CASCADE, related_name="problems")
    number = models.PositiveIntegerField(_("line"), help_text=_("Counted from 1."))
    offset = models.PositiveBigIntegerField(_("offset"), help_text=_("Bytes before the line."))
    sha256 = models.CharField(_("SHA-256"), max_length=64)
    excerpt = models.TextField(_("excerpt"), blank=True)
    reason = models.TextField(_("reason"))
    seen_at = models.DateTimeField(_("seen at"), auto_now_add=True)

    objects = PrimaryQuerySet["ResultProblem"].as_manager()

    class Meta:
        verbose_name = _("problem line")
        verbose_name_plural = _("problem lines")
        constraints = [models.UniqueConstraint(fields=["batch", "sha256"], name="dcb_problem_line")]

    def __str__(self) -> str:
        return f"line {self.number}: {self.reason}"
