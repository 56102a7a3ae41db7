"""What became of the requests of a batch, by their results and their job's schema, and which are asked again."""

from __future__ import annotations

from enum import StrEnum
from functools import cached_property

from django_claude_batches import job_registry
from django_claude_batches.models import BatchRequest, BatchResult, MessageBatch
from django_claude_batches.models.batch_state import State
from django_claude_batches.models.run import WORKING


class ResultEvaluator:
    """Reads answers by the job's schema; `changed` are the results whose `output` has to be written."""

    def __init__(self, job: job_registry.Job, batch: MessageBatch, *, using: str) -> None:
        self._job = job
        self.batch = batch
        self._using = using
        self.changed: list[BatchResult] = []

    def outcome(self, result: BatchResult | None) -> str:
        """Say what became of a request; raise what the job's own validator raises beside its refusals."""
        if result is None:
            return RowOutcome.MISSING
        before = result.output, result.output_error
        result.output_error = None
        if result.outcome == RowOutcome.SUCCEEDED:
            result.output_error = self._job.read_output(result)
        if (result.output, result.output_error) != before:
            self.changed.append(result)
        return result.outcome

    def change_for_retry(self, request: BatchRequest, result: BatchResult | None, outcome: str) -> RetryChange | None:
        """Say how the run asks a failed request again by itself; None: it does not."""
        run = self.batch.run
        if run is None or run.state not in WORKING or self.batch.state == State.LOST:
            return None
        if self.batch.run_attempt >= self._job.max_attempts or self.batch.request_purge_note:
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
        """Whether an answer to it did not fit before, in any batch that this one tries again."""
        before = BatchResult.objects.using(self._using).filter(custom_id=request.custom_id, output_error__isnull=False)
        return before.filter(batch__in=self._ancestors).exists()

    @cached_property
    def _ancestors(self) -> list[int]:
        found: list[int] = []
        batch = self.batch
        while batch.parent_id is not None and batch.parent_id not in found:
            found.append(batch.parent_id)
            batch = type(batch).objects.using(self._using).only("parent").get(pk=batch.parent_id)
        return found


TRANSIENT_ERROR_TYPES = frozenset({"overloaded_error", "api_error", "timeout_error", "rate_limit_error"})
"""Errors of a line that are not about its request: 529, 5xx, 504 and 429 (docs/reference/wire.md §5.1).
Others, and those that will come, are not tried again by themselves."""


class RowOutcome(StrEnum):
    """What a person or a job calls it. Result types of the API that are not here come as they are."""

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
    """How a request is asked again."""

    NOTHING = "as_it_is"
    MORE_TOKENS = "more_tokens"
    CORRECTION = "correction"


def automatic_change(outcome: str, error_type: str, *, can_have_more: bool, was_corrected: bool) -> RetryChange | None:
    """Say how to ask again, as far as the outcome goes; None: not by itself.

    `can_have_more` says whether its `max_tokens` may be larger, `was_corrected` whether it was sent the validator's
    words before.
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
    """Say how to ask again what a person wants asked again."""
    return automatic_change(outcome, "", can_have_more=True, was_corrected=False) or RetryChange.NOTHING
