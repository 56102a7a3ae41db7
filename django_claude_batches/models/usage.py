from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from operator import itemgetter
from typing import Any

from django.db import models
from django.db.models import Case, CharField, Count, F, Q, Sum, Value, When
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_claude_batches import wire
from django_claude_batches.db.leases import PrimaryQuerySet
from django_claude_batches.models.fields import IdentifierField
from django_claude_batches.models.result import BATCH_TIERS, UNBILLED, BatchResult, ResultType

USAGE_COLUMNS = (
    "input_tokens",
    "output_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "cache_read_tokens",
    "web_search_requests",
)

# Decimal places of a cost in USD.
COST_DECIMAL_PLACES = 9

# Maximum tokens of one kind that count for a batch: a billion for each answer, more than any model produces. SQLite
# could not add up the larger numbers that a server might send.
MAX_BATCH_TOKENS = 10**9 * wire.MAX_REQUESTS

# Kinds of error that are stored for a batch: the most frequent ones.
MAX_ERROR_GROUPS = 20

# Groups of results that are stored for a batch, by type and stop reason.
MAX_RESULT_GROUPS = 40

# Replaces the rarest stop reasons if there are more groups. The API has no such stop reason, so these answers do not
# count as complete.
RARE = "*"

# What results are grouped by, besides model and type. An error in a succeeded line is ignored.
_KIND = Case(
    When(result_type=ResultType.ERRORED, then=F("error_type")),
    When(result_type=ResultType.SUCCEEDED, then=F("stop_reason")),
    default=Value(""),
    output_field=CharField(),
)


class UsageRollupQuerySet(PrimaryQuerySet["UsageRollup"]):
    def sum_up(self, batch_id: int) -> Summary:
        """Sum up the batch's results in one query, which reads each result once. Nothing is stored."""
        results = BatchResult.objects.using(self.db).filter(batch=batch_id).order_by()
        of_another_tier = Count("pk", filter=Q(result_type=ResultType.SUCCEEDED) & ~Q(service_tier__in=BATCH_TIERS))
        groups: Any = results.annotate(kind=_KIND).values("model", "result_type", "kind")
        found = list(
            groups.annotate(
                count=Count("pk"),
                answered=Count("request"),
                priced=Count("cost_usd"),
                cost=Sum("cost_usd"),
                other_tier_results=of_another_tier,
                **{f"{name}_sum": Sum(name, default=0) for name in USAGE_COLUMNS},
            )
        )
        return Summary(
            stored=sum(group["count"] for group in found),
            answered=sum(group["answered"] for group in found),
            usage=self._usage(sorted(found, key=itemgetter("model"))),
            error_groups=_error_groups(group for group in found if group["result_type"] == ResultType.ERRORED),
            result_counts=_result_counts(found),
        )

    def _usage(self, groups: Iterable[dict[str, Any]]) -> list[UsageRollup]:
        """Return a row for each model, not saved. The cost of results of an unknown type is not known."""
        rows: dict[str, UsageRollup] = {}
        for group in groups:
            if group["result_type"] in UNBILLED:
                continue
            row = rows.setdefault(group["model"], self.model(model=group["model"], results=0))
            if group["result_type"] == ResultType.SUCCEEDED:
                row.results += group["count"]
                row.other_tier_results += group["other_tier_results"]
                row.cost_usd = rounded(row.cost_usd + (group["cost"] or 0))
                for name in USAGE_COLUMNS:
                    setattr(row, name, min(getattr(row, name) + int(group[f"{name}_sum"]), MAX_BATCH_TOKENS))
            row.unpriced_results += group["count"] - group["priced"]
        return list(rows.values())

    def replace(self, batch: Any, summary: Summary) -> None:
        """Replace the stored rows of a batch by those of the summary, with the batch's current columns.

        If the remote batch was adopted again after its first row was deleted, the rows that it left are replaced too.
        Call it inside a transaction.
        """
        self.filter(batch=batch.pk).delete()
        if batch.anthropic_id:
            self.filter(batch=None, anthropic_id=batch.anthropic_id).delete()
        rows = {row.model: row for row in summary.usage}
        if absent := summary.count_absent(batch):
            rows.setdefault("", self.model(results=0)).unpriced_results += absent
        self.bulk_create(row.of(batch) for row in rows.values())


@dataclass(frozen=True, slots=True)
class Summary:
    """The sums of a batch's results."""

    # Number of results.
    stored: int
    # Number of results that belong to a stored request.
    answered: int
    # Usage of the succeeded results by model, not stored.
    usage: list[UsageRollup]
    # The errored results by kind, in the form of `MessageBatch.error_groups`.
    error_groups: list[dict[str, Any]]
    # All results by type and stop reason, in the form of `MessageBatch.result_counts`.
    result_counts: list[dict[str, Any]]

    @property
    def cost_usd(self) -> Decimal | None:
        """Return the total cost in USD; None if the cost of any result is not known."""
        is_known = not any(row.unpriced_results for row in self.usage)
        return sum((row.cost_usd for row in self.usage), Decimal(0)) if is_known else None

    @property
    def other_tier_results(self) -> int:
        """Return the number of results whose `service_tier` is not `batch`: they may lack the batch discount."""
        return sum(row.other_tier_results for row in self.usage)

    def count_absent(self, batch: Any) -> int:
        """Return the number of requests that may have been answered and billed, but whose answer is not stored.

        The server's counts may be wrong, so they are limited to the requests that were sent and to the API's maximum.
        """
        counted = batch.succeeded_count + batch.processing_count
        billed: int = min(counted, batch.request_count, wire.MAX_REQUESTS)
        return max(billed - sum(row.results for row in self.usage), 0)


def rounded(cost: Decimal) -> Decimal:
    """Round a sum to the decimal places of its column: SQLite adds decimals as floats."""
    return round(cost, COST_DECIMAL_PLACES)


def _error_groups(groups: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the kinds of error and how many results have each, the most frequent first."""
    counts: Counter[str] = Counter()
    for group in groups:
        counts[group["kind"]] += group["count"]  # several groups may have the same kind, by model
    frequent = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MAX_ERROR_GROUPS]
    return [{"error_type": kind, "count": count} for kind, count in frequent]


def _result_counts(groups: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return how many results have each type and stop reason; the rarest are merged if there are too many."""
    counts: Counter[tuple[str, str]] = Counter()
    for group in groups:
        result_type = group["result_type"]
        counts[result_type, group["kind"] if result_type == ResultType.SUCCEEDED else ""] += group["count"]
    for result_type, stop_reason in sorted(counts, key=lambda key: (-counts[key], key))[MAX_RESULT_GROUPS:]:
        known = result_type if result_type in ResultType.values else ""
        counts[known, RARE if stop_reason else ""] += counts.pop((result_type, stop_reason))
    names = ("result_type", "stop_reason", "count")
    return [dict(zip(names, (*key, count), strict=True)) for key, count in counts.most_common()]


class UsageRollup(models.Model):
    """The sums of a batch's succeeded results for one model. Usage pages read these rows and never scan results.

    Token columns are numbers of tokens, `cost_usd` is in USD. The columns that describe the batch are copies, because
    the row is kept when the batch is deleted.
    """

    batch = models.ForeignKey(
        "MessageBatch", on_delete=models.SET_NULL, null=True, blank=True, related_name="usage", verbose_name=_("batch")
    )
    anthropic_id = IdentifierField(_("id at Anthropic"), max_length=128, blank=True, default="")
    ended_at = models.DateTimeField(
        _("ended at"), default=timezone.now, help_text=_("When the batch ended. Its usage counts for that day.")
    )
    account = IdentifierField(_("account"), max_length=64, default="default")
    kind = IdentifierField(_("job or kind"), max_length=100, blank=True, default="")
    starter = IdentifierField(_("started by"), max_length=150, blank=True, default="")
    model = IdentifierField(_("model"), max_length=100, blank=True)
    results = models.PositiveIntegerField(_("results"))
    unpriced_results = models.PositiveIntegerField(
        _("results of unknown cost"),
        default=0,
        help_text=_("Results without a price, and billed answers that could not be fetched."),
    )
    other_tier_results = models.PositiveIntegerField(
        _("results of another tier"),
        default=0,
        help_text=_("Results whose service tier is not batch, so their cost is not known."),
    )
    input_tokens = models.BigIntegerField(_("input tokens"), default=0)
    output_tokens = models.BigIntegerField(_("output tokens"), default=0)
    cache_write_5m_tokens = models.BigIntegerField(_("cache write tokens (5 minutes)"), default=0)
    cache_write_1h_tokens = models.BigIntegerField(_("cache write tokens (1 hour)"), default=0)
    cache_read_tokens = models.BigIntegerField(_("cache read tokens"), default=0)
    web_search_requests = models.BigIntegerField(_("web searches"), default=0)
    cost_usd = models.DecimalField(
        _("cost (USD)"),
        max_digits=18,
        decimal_places=COST_DECIMAL_PLACES,
        default=Decimal(0),
        help_text=_("The sum of the results whose cost is known."),
    )

    objects = UsageRollupQuerySet.as_manager()

    class Meta:
        verbose_name = _("usage")
        verbose_name_plural = _("usage")
        constraints = [models.UniqueConstraint(fields=["batch", "model"], name="dcb_usage_model")]
        indexes = [
            models.Index(fields=["ended_at"], name="dcb_usage_ended"),
            models.Index(fields=["anthropic_id"], name="dcb_usage_remote"),
        ]

    def __str__(self) -> str:
        return f"{self.model}: {self.results}"

    def of(self, batch: Any) -> UsageRollup:
        """Copy the columns that describe the batch, and return the row, which is not saved."""
        now = timezone.now()
        self.batch_id = batch.pk
        self.anthropic_id = batch.anthropic_id or ""
        self.ended_at = min(batch.ended_at or now, now)  # no page shows a time in the future, or none
        self.account, self.kind, self.starter = batch.account, batch.kind, batch.created_by_name
        return self
