"""The models of batches, requests, results and job runs. Import them from here."""

from __future__ import annotations

from django_claude_batches.drafting.request import DraftRequest
from django_claude_batches.models.account import AccountState
from django_claude_batches.models.attempt import Outcome, SubmitAttempt
from django_claude_batches.models.batch.batch import MessageBatch
from django_claude_batches.models.batch.outcomes import OutcomeCount, outcome_counts
from django_claude_batches.models.batch_state import State
from django_claude_batches.models.delivery import DeliveryChunk, DeliveryMode, FailedDelivery
from django_claude_batches.models.event import BatchEvent
from django_claude_batches.models.open_listing import OpenListing
from django_claude_batches.models.remote_batch import RemoteBatch
from django_claude_batches.models.request import BatchRequest
from django_claude_batches.models.result import BatchResult, ResultProblem, ResultType
from django_claude_batches.models.run import JobRun, RunState
from django_claude_batches.models.run_totals import RunTotals
from django_claude_batches.models.targets import BatchTargets
from django_claude_batches.models.upload import BatchUpload, UploadPart, UploadState
from django_claude_batches.models.usage import UsageRollup

__all__ = [
    "AccountState",
    "BatchEvent",
    "BatchRequest",
    "BatchResult",
    "BatchTargets",
    "BatchUpload",
    "DeliveryChunk",
    "DeliveryMode",
    "DraftRequest",
    "FailedDelivery",
    "JobRun",
    "MessageBatch",
    "OpenListing",
    "Outcome",
    "OutcomeCount",
    "RemoteBatch",
    "ResultProblem",
    "ResultType",
    "RunState",
    "RunTotals",
    "State",
    "SubmitAttempt",
    "UploadPart",
    "UploadState",
    "UsageRollup",
    "outcome_counts",
]
