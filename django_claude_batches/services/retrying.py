from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.db.models import Q, QuerySet

from django_claude_batches.exceptions import InvalidRequest, InvalidTransition
from django_claude_batches.models import BatchRequest, MessageBatch, bulk
from django_claude_batches.models.drafting import Prepared
from django_claude_batches.models.state import State

RETRYABLE = frozenset({State.INGESTED, State.LOST, State.ABANDONED})

OUTCOMES = {
    "errored": Q(result__result_type="errored"),
    "expired": Q(result__result_type="expired"),
    "canceled": Q(result__result_type="canceled"),
    "truncated": Q(result__result_type="succeeded", result__stop_reason="max_tokens"),
    "refused": Q(result__result_type="succeeded", result__stop_reason="refusal"),
    "missing": Q(result__isnull=True),
}


def retry(
    batch: MessageBatch,
    *,
    outcomes: Iterable[str] = ("errored", "expired", "missing"),
    max_tokens: int | None = None,
    by: Any = None,
) -> MessageBatch:
    """Draft a new batch of the requests with those outcomes; nothing is sent.

    `outcomes` are any of errored, expired, canceled, truncated, refused and missing. The new requests keep their
    custom_ids and targets; `max_tokens` replaces theirs. Raise InvalidTransition while the batch is not finished, and
    when its request bodies were purged; InvalidRequest if an outcome is unknown or no request has one of them.
    """
    wanted = list(outcomes)
    if unknown := [name for name in wanted if name not in OUTCOMES]:
        raise InvalidRequest(f"unknown outcome {unknown[0]!r}: {', '.join(OUTCOMES)} are known")
    rows = MessageBatch.objects.primary()
    batch.refresh_from_db(using=rows.db)
    if batch.state not in RETRYABLE:
        raise batch.forbidden("retry", RETRYABLE)
    if batch.request_purge_note:
        raise _purged(batch)
    chosen = Q(pk__in=[])
    for name in wanted:
        chosen |= OUTCOMES[name]
    requests = batch.requests.using(rows.db).filter(chosen)
    if not requests.exists():
        raise InvalidRequest(f"batch {batch} has no request here that is {' or '.join(wanted) or 'chosen'}")
    child = MessageBatch.objects.create_draft(
        _again(batch, requests, max_tokens),
        kind=batch.kind,
        label=batch.label,
        account=batch.account,
        betas=batch.betas,
        anthropic_version=batch.anthropic_version,
        user_profile_id=batch.user_profile_id,
        parent=batch,
        created_by=by,
    )
    batch.note("retried", f"{child.request_count:,} requests in batch #{child.pk}", by=by)
    return child


def _purged(batch: MessageBatch) -> InvalidTransition:
    why = f"its request bodies are gone, so there is nothing to send again. {batch.request_purge_note}".rstrip()
    return batch.forbidden("retry", RETRYABLE, why)


def _again(batch: MessageBatch, requests: QuerySet[BatchRequest], max_tokens: int | None) -> Iterator[Prepared]:
    for request in bulk.in_order(requests):
        if request.is_purged:  # since we looked
            raise _purged(batch)
        if max_tokens is not None:
            request.params = {**request.params, "max_tokens": max_tokens}
        yield request.prepared
