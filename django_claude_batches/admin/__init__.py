"""The ModelAdmin classes of the package, each also available as a mixin.

To customize a page, unregister its model and register a ModelAdmin that inherits from the mixin.
"""

from __future__ import annotations

from django_claude_batches.admin.accounts.admin import AccountStateAdmin, AccountStateAdminMixin
from django_claude_batches.admin.batches.admin import MessageBatchAdmin, MessageBatchAdminMixin
from django_claude_batches.admin.results.requests import BatchRequestAdmin, BatchRequestAdminMixin
from django_claude_batches.admin.results.results import BatchResultAdmin, BatchResultAdminMixin
from django_claude_batches.admin.runs.admin import JobRunAdmin, JobRunAdminMixin
from django_claude_batches.admin.usage.admin import UsageRollupAdmin, UsageRollupAdminMixin

__all__ = [
    "AccountStateAdmin",
    "AccountStateAdminMixin",
    "BatchRequestAdmin",
    "BatchRequestAdminMixin",
    "BatchResultAdmin",
    "BatchResultAdminMixin",
    "JobRunAdmin",
    "JobRunAdminMixin",
    "MessageBatchAdmin",
    "MessageBatchAdminMixin",
    "UsageRollupAdmin",
    "UsageRollupAdminMixin",
]
