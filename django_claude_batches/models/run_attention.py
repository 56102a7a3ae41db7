"""Which runs need attention, and why. The one definition for the admin, commands and `doctor`."""

from __future__ import annotations

from typing import Any

from django.db.models import Exists, OuterRef, Q
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_claude_batches.error_text import one_line
from django_claude_batches.models.batch.attention import FAILURES_FOR_ATTENTION, Reason, any_of, first_of
from django_claude_batches.models.batch.batch import MessageBatch
from django_claude_batches.models.batch_state import EDITABLE, State
from django_claude_batches.models.delivery import DeliveryChunk, FailedDelivery
from django_claude_batches.models.run import ACTIVE, WORKING, JobRun, RunState

# Batches that the run submitted and that were refused, not received, or taken back. The run does not finish until they
# are submitted again.
NOT_ACCEPTED = Q(state__in=EDITABLE, submitted_by_run_at__isnull=False, delivered_at__isnull=True)


def reasons() -> list[Reason]:
    """Return the reasons, the most important first."""
    batches = MessageBatch.objects.primary().filter(run=OuterRef("pk"), delivered_at__isnull=True)
    chunks = DeliveryChunk.objects.primary().filter(batch__run=OuterRef("pk"))
    failed = FailedDelivery.objects.primary().filter(batch__run=OuterRef("pk"))
    return [
        Reason("paused", Q(state__in=ACTIVE, paused_at__isnull=False), _("Paused: {pause_reason}")),
        Reason(
            "batches",
            Q(Exists(batches.filter(NOT_ACCEPTED)), state__in=WORKING),
            _("Batches were not accepted: {left}."),
        ),
        Reason(
            "waiting",
            Q(Exists(batches.exclude(state__in=EDITABLE).needing_attention()), state__in=ACTIVE),
            _("Batches need attention: {waiting}"),
        ),
        Reason("stuck", Q(Exists(chunks.stuck())), _("Deliveries are not retried any more: {stuck}")),
        Reason(
            "failed_deliveries",
            Q(Exists(failed)),
            _("Rows that raised an error in the job's code: {failed_deliveries}. Fix the code, then redeliver."),
        ),
        Reason(
            "failing",
            Q(state__in=ACTIVE, failures__gte=FAILURES_FOR_ATTENTION),
            _("It failed several times in a row: {last_error}"),
        ),
        Reason(
            "left_out",
            Q(state=RunState.FINISHED, row_count=0, left_out_count__gt=0),
            _("All rows were left out because none of them could be sent. Correct that, then start the job again."),
        ),
        Reason("error", ~Q(state__in=ACTIVE) & ~Q(last_error=""), _("Last error: {last_error}")),
    ]


def needing_attention(runs: Any) -> Any:
    return runs.filter(any_of(reasons()))


def attention(run: JobRun) -> str:
    """Return why the run needs attention, as text; empty if it does not. A few queries, no HTTP."""
    found = reasons()
    name = with_reason(JobRun.objects.primary().filter(pk=run.pk)).values_list("attention_reason", flat=True).first()
    words = next((reason.words for reason in found if reason.name == name), "")
    return str(words).format_map(_Details(run)).strip()


class _Details(dict[str, Any]):
    """The values that a text can contain, queried when they are used."""

    def __init__(self, run: JobRun) -> None:
        self._run = run

    def __missing__(self, name: str) -> Any:
        batches = MessageBatch.objects.primary().filter(run=self._run, delivered_at__isnull=True).order_by("pk")
        if name == "left":
            return ", ".join(
                f"batch {batch} ({State(batch.state).label})" for batch in batches.filter(NOT_ACCEPTED)[:10]
            )
        if name == "waiting":
            return " ".join(
                f"{batch}: {batch.attention()}"
                for batch in batches.exclude(state__in=EDITABLE).needing_attention()[:10]
            )
        if name == "stuck":
            chunks = DeliveryChunk.objects.primary().filter(batch__run=self._run).stuck().order_by("pk")
            return ", ".join(f"{chunk} ({one_line(chunk.last_error)})" for chunk in chunks[:10])
        if name == "failed_deliveries":
            return f"{FailedDelivery.objects.primary().filter(batch__run=self._run).count():,}"
        return one_line(getattr(self._run, name)).strip()


class _Brief(_Details):
    """The values for a list of runs, without a query for each run: long texts refer to the run's page."""

    def __init__(self, run: JobRun, failed_deliveries: int) -> None:
        super().__init__(run)
        self._failed_deliveries = failed_deliveries

    def __missing__(self, name: str) -> Any:
        if name == "failed_deliveries":
            return f"{self._failed_deliveries:,}"
        return gettext("see the run's page") if name in {"left", "waiting", "stuck"} else super().__missing__(name)


def with_reason(runs: Any) -> Any:
    """Annotate runs with the name of the first reason for which they need attention, or an empty text."""
    return runs.annotate(attention_reason=first_of(reasons()))


def brief(run: Any, failed_deliveries: int) -> str:
    """Return why a run that was annotated by `with_reason` needs attention; empty if it does not. No query."""
    words = next((reason.words for reason in reasons() if reason.name == run.attention_reason), "")
    return str(words).format_map(_Brief(run, failed_deliveries)).strip()


def with_issues(runs: Any) -> Any:
    """Annotate runs with whether they have failed deliveries, rows that failed for good, and stuck deliveries."""
    chunks = DeliveryChunk.objects.primary().filter(batch__run=OuterRef("pk"))
    return runs.annotate(
        has_failed_deliveries=Exists(FailedDelivery.objects.primary().filter(batch__run=OuterRef("pk"))),
        has_failed=Exists(chunks.with_failures()),
        is_stuck=Exists(chunks.stuck()),
    )
