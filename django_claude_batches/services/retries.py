"""Retry requests of a finished batch by hand: a new draft of those with certain outcomes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Case, F, Q, QuerySet, When
from django.utils.translation import gettext as _

from django_claude_batches.db import keyset
from django_claude_batches.drafting.request import Prepared
from django_claude_batches.exceptions import InvalidRequest, InvalidTransition
from django_claude_batches.models import BatchRequest, MessageBatch
from django_claude_batches.models.batch_state import State
from django_claude_batches.models.large_columns import PARAMS
from django_claude_batches.models.result import ended_as

RETRYABLE = frozenset({State.INGESTED, State.LOST, State.ABANDONED})

# Rows read at a time, of small columns only: the results may be joined again for each page.
PAGE = 10_000

FAILED_RESULT_TYPES = ("errored", "expired", "canceled")
RETRYABLE_OUTCOMES = (*FAILED_RESULT_TYPES, "truncated", "refused", "unfinished", "missing")


class RetryRequest(NamedTuple):
    """A request that is to be drafted again; 100,000 of them take 15 MB."""

    position: int
    size: int
    was_truncated: bool


def retry(
    batch: MessageBatch,
    *,
    outcomes: Iterable[str] = ("errored", "expired", "missing"),
    max_tokens: int | None = None,
    by: Any = None,
) -> MessageBatch:
    """Draft a new batch of the requests with those outcomes; nothing is sent.

    `outcomes` are any of errored, expired, canceled, truncated, refused, unfinished and missing. The new requests keep
    their custom_ids, targets and cells; erased ones are left out. `max_tokens` replaces theirs; if truncated is among
    the outcomes, only for truncated ones, and it must be more than each of them had. Whether the model allows it, the
    API checks when the batch runs.

    Raise InvalidTransition while the batch is not finished, when its request bodies were purged, for a batch created
    elsewhere, and for one of a job's run (`retry_run` knows which rows were retried already); InvalidRequest if an
    outcome is unknown, no request has one of them, or `max_tokens` is too small.
    """
    wanted = list(outcomes)
    if unknown := [name for name in wanted if name not in RETRYABLE_OUTCOMES]:
        raise InvalidRequest(f"unknown outcome {unknown[0]!r}: {', '.join(RETRYABLE_OUTCOMES)} are known")
    rows = MessageBatch.objects.primary()
    batch.refresh_from_db(using=rows.db)
    if batch.state not in RETRYABLE:
        raise batch.forbidden("retry", RETRYABLE)
    if batch.request_purge_note:
        raise _purged_error(batch)
    if why := obstacle(batch):
        raise batch.forbidden("retry", RETRYABLE, f"it {why}.")
    chosen = Q(pk__in=[])
    for name in wanted:
        chosen |= _match_outcome(name)
    with transaction.atomic(using=rows.db):
        # Locks the row: an erasure commits before this, or waits for the draft and finds the request in it.
        # Must come first: MySQL locks the row for the child's foreign key, and two such locks would deadlock.
        rows.filter(pk=batch.pk).update(kind=F("kind"))
        found = _find(batch.requests.using(rows.db).filter(chosen, erased_at__isnull=True))
        if not found:
            raise InvalidRequest(f"batch {batch} has no request here that is {' or '.join(wanted) or 'chosen'}")
        child = MessageBatch.objects.create_draft(
            _requests_again(batch, found, max_tokens, only_truncated="truncated" in wanted),
            kind=batch.kind,
            label=batch.label,
            account=batch.account,
            betas=batch.betas,
            anthropic_version=batch.anthropic_version,
            user_profile_id=batch.user_profile_id,
            parent=batch,
            cells_header=batch.cells_header,
            created_by=by,
        )
        batch.log_event("retried", f"{child.request_count:,} requests in batch #{child.pk}", by=by)
    return child


def obstacle(batch: MessageBatch) -> str:
    """Return why a finished batch cannot be retried, as text to follow its name; empty if it can. No query."""
    if batch.run_id is not None:
        return _("belongs to a run, which asks its failed rows again: retry them from the run")
    if batch.request_purge_note:
        return _("has no requests any more, so there is nothing to send again: they were purged")
    if not batch.body_bytes:
        return _("was made elsewhere, so its requests are not here")
    return ""


def _purged_error(batch: MessageBatch) -> InvalidTransition:
    why = f"its request bodies are gone, so there is nothing to send again. {batch.request_purge_note}".rstrip()
    return batch.forbidden("retry", RETRYABLE, why)


def _match_outcome(outcome: str) -> Q:
    """Match the requests with one of OUTCOMES."""
    if outcome == "missing":
        return Q(result__isnull=True)
    return Q(result__result_type=outcome) if outcome in FAILED_RESULT_TYPES else ended_as(outcome, to_result="result__")


def _find(requests: QuerySet[BatchRequest]) -> list[RetryRequest]:
    """Return the chosen requests, in their order."""
    was_truncated = Case(When(_match_outcome("truncated"), then=True), default=False)
    rows = requests.annotate(stored_size=PARAMS.size, was_truncated=was_truncated)
    found = keyset.pages(rows, "position", "stored_size", "was_truncated", size=PAGE)
    return [RetryRequest(*row) for page in found for row in page]


def _requests_again(
    batch: MessageBatch, found: list[RetryRequest], max_tokens: int | None, *, only_truncated: bool
) -> Iterator[Prepared]:
    requests = batch.requests.using(MessageBatch.objects.primary().db).order_by("position")
    for piece in keyset.chunked(found, size=attrgetter("size")):
        truncated = {each.position for each in piece if each.was_truncated}
        # The range lets PostgreSQL use the index: for the list alone it may scan the whole batch.
        near = requests.filter(position__range=(piece[0].position, piece[-1].position))
        for request in near.filter(position__in=[each.position for each in piece]):
            if request.is_purged:  # since the query above
                raise _purged_error(batch)
            was_truncated = request.position in truncated
            if max_tokens is not None and (was_truncated or not only_truncated):
                _raise_max_tokens(request, max_tokens, was_truncated=was_truncated)
            yield request.prepared


def _raise_max_tokens(request: BatchRequest, max_tokens: int, *, was_truncated: bool) -> None:
    params = request.params
    if was_truncated and max_tokens <= params["max_tokens"]:
        reason = f"it was cut off at {params['max_tokens']:,} tokens: max_tokens must be more than that"
        raise InvalidRequest(reason, position=request.position, custom_id=request.custom_id)
    request.params = {**params, "max_tokens": max_tokens}
