from __future__ import annotations

from django.contrib import admin
from unfold.admin import ModelAdmin

from django_claude_batches import admin as pages
from django_claude_batches import models

MIXINS = {
    models.MessageBatch: pages.MessageBatchAdminMixin,
    models.BatchRequest: pages.BatchRequestAdminMixin,
    models.BatchResult: pages.BatchResultAdminMixin,
    models.JobRun: pages.JobRunAdminMixin,
    models.AccountState: pages.AccountStateAdminMixin,
    models.UsageRollup: pages.UsageRollupAdminMixin,
}
for model, mixin in MIXINS.items():
    admin.site.unregister(model)
    admin.site.register(model, type(mixin.__name__, (mixin, ModelAdmin), {}))
