"""What became of a request, by its result and the job's schema, and how it is retried."""

from __future__ import annotations

from enum import StrEnum
from functools import cached_property

from django_claude_batches import job_registry
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


def evaluate_result(result: BatchResult, job: job_registry.Job) -> bool:
    """Check an answer by the job's schema; return whether that changed the result's columns, which are not written.

    Raise what the job's own validator raises, except its refusals.
    """
    before = result.output, result.output_error
    result.output_error = None
    if result.outcome == RowOutcome.SUCCEEDED:
        result.output_error = job.read_output(result)
    return (result.output, result.output_error) != before


class AutomaticRetries:
    """Which failed requests of a batch its run retries automatically."""

    def __init__(self, batch: MessageBatch, job: job_registry.Job, *, using: str) -> None:
        self._batch = batch
        self._job = job
        self._using = using

    def change(self, request: BatchRequest, result: BatchResult | None, outcome: str) -> RetryChange | None:
        """Return what is changed in a request that is retried; None if it is not retried."""
        batch, run = self._batch, self._batch.run
        if outcome == RowOutcome.SUCCEEDED or run is None or run.state not in WORKING or batch.state == State.LOST:
            return None
        if batch.run_attempt >= self._job.max_attempts or batch.request_purge_note:
            return None
        return automatic_change(
            outcome,
            "" if result is None else result.error_type,
            can_have_more=outcome == RowOutcome.TRUNCATED and self._can_have_more(request),
            was_corrected=outcome == RowOutcome.INVALID_OUTPUT and self._was_corrected(request),
        )

    def _can_have_more(self, request: BatchRequest) -> bool:
        return self._job.more_tokens(request.params.get("max_tokens") or 0) is not None

    def _was_corrected(self, request: BatchRequest) -> bool:
        """Return whether an earlier answer did not fit, in any batch that this one retries."""
        before = BatchResult.objects.using(self._using).filter(custom_id=request.custom_id, output_error__isnull=False)
        return before.filter(batch__in=self._ancestors).exists()

    @cached_property
    def _ancestors(self) -> list[int]:
        found: list[int] = []
        batch = self._batch
        while batch.parent_id is not None and batch.parent_id not in found:
            found.append(batch.parent_id)
            batch = type(batch).objects.using(self._using).only("parent").get(pk=batch.parent_id)
        return found


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
