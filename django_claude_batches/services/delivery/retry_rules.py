"""The outcomes of requests, and which failed ones a run retries automatically, with which change."""

from __future__ import annotations

from enum import StrEnum

from django_claude_batches.job_registry import Job
from django_claude_batches.models import BatchRequest, BatchResult, MessageBatch
from django_claude_batches.models.batch_state import State
from django_claude_batches.models.run import WORKING

# Errors of a result line that are not about its request: 529, 5xx, 504 and 429 (docs/reference/wire.md §5.1).
# Others, and those that the API may add, are not retried automatically.
TRANSIENT_ERROR_TYPES = frozenset({"overloaded_error", "api_error", "timeout_error", "rate_limit_error"})


class RowOutcome(StrEnum):
    """The outcomes that people and jobs see. Result types of the API that are not listed are outcomes as they are."""

    SUCCEEDED = "succeeded"
    INVALID_OUTPUT = "invalid_output"
    TRUNCATED = "truncated"
    REFUSED = "refused"
    UNFINISHED = "unfinished"
    ERRORED = "errored"
    CANCELED = "canceled"
    EXPIRED = "expired"
    MISSING = "missing"


class RetryChange(StrEnum):
    """What is changed in a request that is retried."""

    NOTHING = "as_it_is"
    MORE_TOKENS = "more_tokens"
    CORRECTION = "correction"


def retry_change(request: BatchRequest, outcome: str, job: Job, *, using: str) -> RetryChange | None:
    """Return what is changed in a failed request that its run retries automatically; None if it is not retried."""
    batch, run = request.batch, request.batch.run
    if run is None or run.state not in WORKING or batch.state == State.LOST:
        return None
    if batch.run_attempt >= job.max_attempts or batch.request_purge_note:
        return None
    return automatic_change(
        outcome,
        request.result.error_type if outcome == RowOutcome.ERRORED else "",
        can_have_more=outcome == RowOutcome.TRUNCATED and _can_have_more(request, job),
        was_corrected=outcome == RowOutcome.INVALID_OUTPUT and _was_corrected(request, using=using),
    )


def _can_have_more(request: BatchRequest, job: Job) -> bool:
    return job.more_tokens(request.params.get("max_tokens") or 0) is not None


def _was_corrected(request: BatchRequest, *, using: str) -> bool:
    """Return whether an earlier answer did not fit, in any batch that this one retries."""
    batches = [request.batch.parent_id]
    while batches[-1] is not None and len(batches) < request.batch.run_attempt - 1:
        parents = MessageBatch.objects.using(using).filter(pk=batches[-1])
        batches.append(parents.values_list("parent", flat=True).get())
    before = BatchResult.objects.using(using).filter(custom_id=request.custom_id, output_error__isnull=False)
    return before.filter(batch__in=batches).exists()


def automatic_change(outcome: str, error_type: str, *, can_have_more: bool, was_corrected: bool) -> RetryChange | None:
    """Return what is changed in a request with this outcome that is retried automatically; None if it is not retried.

    `can_have_more` says whether its `max_tokens` may be larger, `was_corrected` whether the validator's words were sent
    with it before.
    """
    match outcome:
        case RowOutcome.EXPIRED | RowOutcome.MISSING:
            return RetryChange.NOTHING
        case RowOutcome.ERRORED:
            return RetryChange.NOTHING if error_type in TRANSIENT_ERROR_TYPES else None
        case RowOutcome.TRUNCATED:
            return RetryChange.MORE_TOKENS if can_have_more else None
        case RowOutcome.INVALID_OUTPUT:
            return None if was_corrected else RetryChange.CORRECTION
        case _:
            return None


def requested_change(outcome: str) -> RetryChange:
    """Return what is changed in a request that a person retries."""
    return automatic_change(outcome, "", can_have_more=True, was_corrected=False) or RetryChange.NOTHING
