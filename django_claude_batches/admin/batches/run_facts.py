"""What a batch's page shows about the run that made it: attempts of its rows, and the progress of its delivery."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import Count, Exists, F, OuterRef, Subquery, Sum
from django.db.models.functions import Coalesce
from django.utils.html import format_html
from django.utils.translation import gettext as _

from django_claude_batches.admin.base import display
from django_claude_batches.admin.base.display import Fact
from django_claude_batches.models import DeliveryChunk, DeliveryMode, FailedDelivery, RunState, State
from django_claude_batches.models.batch.outcomes import with_invalid_count


def with_run(batches: Any) -> Any:
    """Annotate batches with the progress of their delivery. A batch has few delivery chunks, which an index finds."""
    own: dict[str, Any] = {"batch": OuterRef("pk")}
    raised = (
        FailedDelivery.objects.primary().filter(**own).order_by().values("batch").annotate(n=Count("pk")).values("n")
    )
    chunks = DeliveryChunk.objects.primary().filter(**own).order_by()
    waiting = chunks.undone().filter(mode=DeliveryMode.FIRST).values("batch")
    left = waiting.annotate(n=Sum(F("last_position") - F("position") + 1)).values("n")
    failed = chunks.with_failures().values("batch").annotate(n=Sum("failed_count")).values("n")
    return with_invalid_count(batches).annotate(
        failed_delivery_count=Coalesce(Subquery(raised), 0),
        undelivered_count=Coalesce(Subquery(left), 0),
        failed_row_count=Coalesce(Subquery(failed), 0),
        is_stuck=Exists(chunks.stuck()),
    )


def of_run(batch: Any, url: str) -> Iterator[Fact]:
    """Yield the facts of a batch that a run made; `url` is the run's page, empty for users who may not view it."""
    yield Fact(_("Run"), display.link(url, batch.run))
    yield Fact(_("Its rows are asked"), _nth(batch.run_attempt))
    if batch.state == State.DRAFT and batch.run.is_active:
        yield Fact(_("Next"), _next(batch))
    if batch.state in {State.INGESTED, State.LOST}:
        yield Fact(_("Delivered to its job"), _delivered(batch))


def _nth(attempt: int) -> str:
    return _("for the first time") if attempt < 2 else _("again: attempt %(n)s") % {"n": attempt}


def _next(batch: Any) -> str:
    if batch.is_filling:
        return _("Its run still adds requests to it. Until that is done it cannot be submitted, edited or deleted.")
    if batch.run.state == RunState.CANCELING:
        return _("Its run is being canceled and does not submit it.")
    if batch.run.is_paused:
        return _("Its run is paused and submits it after it is resumed.")
    return _("Its run submits it when the account's queue has room.")


def _delivered(batch: Any) -> str:
    if batch.delivered_at is not None:
        return format_html(_("All of it, {when}"), when=display.moment(batch.delivered_at))
    done = max(batch.request_count - batch.undelivered_count, 0)
    return _("%(n)s of %(all)s requests") % {"n": f"{done:,}", "all": f"{batch.request_count:,}"}
