"""Fetch the results of an ended batch, and store them chunk by chunk until they add up."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from django_claude_batches import conf
from django_claude_batches.client import BatchesClient
from django_claude_batches.db.leases import DatabaseNow
from django_claude_batches.estimates import dollars
from django_claude_batches.exceptions import (
    ClaudeBatchesError,
    LeaseLost,
    NotFoundError,
    ResultsUnavailable,
    result_or_error,
)
from django_claude_batches.models import DeliveryChunk, MessageBatch, ResultProblem, UsageRollup, bulk
from django_claude_batches.models.batch_state import FETCHING, State
from django_claude_batches.models.result import ResultType
from django_claude_batches.models.usage import Summary
from django_claude_batches.pricing import PriceTable
from django_claude_batches.sanitize import get_logger
from django_claude_batches.services.backoff import NO_DELAY, backoff, honor_retry_after
from django_claude_batches.services.ingestion.download import MAX_PROBLEMS, Chunk, Download
from django_claude_batches.services.mirror import mirror_columns
from django_claude_batches.services.polling.loss import is_past_results_deadline, mark_lost, record_miss

logger = get_logger(__name__)


def ingest(batch: MessageBatch, token: str, client: BatchesClient) -> bool:
    """Fetch the results, and store those that are not stored yet. Return whether the batch is complete now.

    Sends HTTP, and commits after each chunk. Repeating it is safe: stored results are not changed. A broken connection
    is retried without limit; a complete download that does not add up, or has too many lines, INGEST_ATTEMPTS times.
    """
    prices = conf.prices()
    download = Download(batch, client, prices, using=MessageBatch.objects.primary().db)
    failure = result_or_error(lambda: download.run(lambda chunk: _store(batch, token, chunk, download)))
    if isinstance(failure, LeaseLost):
        logger.warning("Batch %s is fetched by another process now.", batch.pk)
        return False
    if isinstance(failure, ResultsUnavailable):
        return _handle_unavailable(batch, token, client, failure)
    if failure is not None:
        batch.reschedule(honor_retry_after(failure, backoff(batch.failures)), token=token, error=str(failure))
        return False
    return _finish(batch, token, download, prices)


def _store(batch: MessageBatch, token: str, chunk: Chunk, download: Download) -> None:
    rows = MessageBatch.objects.primary()
    with transaction.atomic(using=rows.db, durable=True):
        # Heartbeat, fence and row lock in one statement: a late process stores nothing.
        if not rows.renew(batch.pk, token):
            raise LeaseLost(f"The lease on batch {batch.pk} is lost.")
        for index, why in bulk.insert_results(download.rows(chunk), using=rows.db).items():
            custom_id, line = chunk.made[index]
            why = download.redacted(why)  # noqa: PLW2901 (PostgreSQL quotes the row in it)
            logger.error("Batch %s: the database refused the result of %s: %s", batch.pk, custom_id, why)
            download.add_problem(chunk, line, f"The database refused the row of {custom_id}: {why}")
        # An unreadable line may be the answer to any request: if one was erased, no excerpt is stored.
        is_quoted = not chunk.problems or not batch.requests.using(rows.db).filter(erased_at__isnull=False).exists()
        for trouble in chunk.problems:
            trouble.excerpt = trouble.excerpt if is_quoted else ""
            known = {"batch": batch, "sha256": trouble.sha256}
            shown = {name: getattr(trouble, name) for name in ("number", "offset", "excerpt", "reason")}
            ResultProblem.objects.using(rows.db).get_or_create(**known, defaults=shown)


def _handle_unavailable(batch: MessageBatch, token: str, client: BatchesClient, failure: ResultsUnavailable) -> bool:
    """Retrieve the batch: a 404 for its results may be temporary, unless they are archived or the batch is gone."""
    gone = False
    answer = result_or_error(lambda: client.retrieve(str(batch.anthropic_id)))
    if isinstance(answer, NotFoundError):
        gone = record_miss(batch, client, str(answer))
    elif isinstance(answer, ClaudeBatchesError):
        logger.warning("Batch %s: %s", batch.pk, answer)
    elif answer["archived_at"] is not None or is_past_results_deadline(batch):
        batch.reschedule(NO_DELAY, token=token, **mirror_columns(answer))
        gone = mark_lost(batch, f"Its results were archived at Anthropic. {failure}")
    if gone:
        return batch.delete_requested_at is not None
    batch.reschedule(backoff(batch.failures), token=token, error=str(failure))
    return False


def _finish(batch: MessageBatch, token: str, download: Download, prices: PriceTable) -> bool:
    """Compare the results with the requests.

    If they do not add up, reschedule with back-off; the last attempt completes.
    """
    summary = UsageRollup.objects.primary().sum_up(batch.pk)
    missing = batch.count_missing(summary)
    imbalance = _imbalance(batch, download, missing)
    last_try = batch.tries + 1 >= conf.ingest_attempts()
    if imbalance and not last_try:
        tries = batch.tries + 1
        batch.move(
            State.INCOMPLETE,
            allowed=FETCHING,
            token=token,
            due=backoff(tries),
            last_error=imbalance,
            missing_count=missing,
            error_groups=summary.error_groups,
            result_counts=summary.result_counts,
            tries=tries,
        )
        return False
    # One that was complete before is announced again, and most of its rows have the prices of then.
    further: dict[str, Any] = {"announced_at": None} if batch.was_complete else {"prices_as_of": prices.as_of}
    with transaction.atomic(using=MessageBatch.objects.primary().db, durable=True):
        complete = batch.move(
            State.INGESTED,
            allowed=FETCHING,
            token=token,
            due=NO_DELAY,
            ingested_at=DatabaseNow(),
            missing_count=missing,
            missing_reason=imbalance if missing else "",
            error_groups=summary.error_groups,
            result_counts=summary.result_counts,
            last_error=imbalance,
            cost_usd=summary.cost_usd,
            **further,
        )
        if complete:
            UsageRollup.objects.primary().replace(batch, summary)
            DeliveryChunk.objects.start_delivery(batch)
            batch.log_event(
                "ingested", f"{imbalance or f'{download.count:,} results'}; {_cost_summary(summary, prices)}"
            )
    return complete


def _cost_summary(summary: Summary, prices: PriceTable) -> str:
    cost = summary.cost_usd
    text = "cost not known" if cost is None else dollars(cost)
    if summary.other_tier_results:
        text += f" ({summary.other_tier_results:,} not of the service tier batch)"
    return f"{text} by the prices of {prices.as_of}"


def _imbalance(batch: MessageBatch, download: Download, missing: int) -> str:
    """Return a text that says what does not add up; empty if everything does."""
    wrong = [
        f"{download.types[name]:,} lines {name} where Anthropic counted {count:,}"
        for name in ResultType.values
        if download.types[name] != (count := getattr(batch, f"{name}_count"))
    ]
    if download.count != batch.request_count:
        wrong.insert(0, f"{download.count:,} results came for {batch.request_count:,} requests")
    if not wrong and missing:
        wrong = [f"{missing:,} results could not be stored"]
    if download.surplus:
        wrong.append(download.surplus)
    if wrong and download.problems > MAX_PROBLEMS:
        wrong.append(f"{download.problems:,} lines were no results, of which {MAX_PROBLEMS:,} are kept")
    return "; ".join(wrong)
