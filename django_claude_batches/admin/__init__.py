"""The admin's pages. Each comes as a mixin too: unregister ours, and compose your own."""

from __future__ import annotations

from django_claude_batches.admin.account import AccountStateAdmin, AccountStateAdminMixin
from django_claude_batches.admin.batch import MessageBatchAdmin, MessageBatchAdminMixin
from django_claude_batches.admin.request import BatchRequestAdmin, BatchRequestAdminMixin
from django_claude_batches.admin.result import BatchResultAdmin, BatchResultAdminMixin
from django_claude_batches.admin.runs.run import JobRunAdmin, JobRunAdminMixin

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
]
