from __future__ import annotations

from django.contrib import admin
from unfold.admin import ModelAdmin

from django_claude_batches.admin import (
    AccountStateAdminMixin,
    BatchRequestAdminMixin,
    BatchResultAdminMixin,
    JobRunAdminMixin,
    MessageBatchAdminMixin,
    UsageRollupAdminMixin,
)
from django_claude_batches.models import AccountState, BatchRequest, BatchResult, JobRun, MessageBatch, UsageRollup

PAGES = {
    MessageBatch: MessageBatchAdminMixin,
    BatchRequest: BatchRequestAdminMixin,
    BatchResult: BatchResultAdminMixin,
    JobRun: JobRunAdminMixin,
    AccountState: AccountStateAdminMixin,
    UsageRollup: UsageRollupAdminMixin,
}
for model, mixin in PAGES.items():
    admin.site.unregister(model)
    admin.site.register(model, type(mixin.__name__, (mixin, ModelAdmin), {}))
