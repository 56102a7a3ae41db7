"""A project that exports this package's rows with django-import-export: the admin with its mixins."""

from __future__ import annotations

from django.contrib import admin
from import_export.admin import ExportActionMixin, ExportMixin
from import_export.resources import ModelResource

from django_claude_batches.admin import BatchResultAdminMixin, MessageBatchAdminMixin
from django_claude_batches.models import BatchResult, MessageBatch

admin.site.unregister([BatchResult, MessageBatch])


class ResultResource(ModelResource):
    class Meta:
        model = BatchResult
        fields = ("id", "custom_id", "result_type", "message", "cost_usd")


@admin.register(BatchResult)
class ResultAdmin(ExportMixin, BatchResultAdminMixin, admin.ModelAdmin):
    change_list_template = "admin/django_claude_batches/change_list.html"
    resource_classes = [ResultResource]
    skip_export_form = True


@admin.register(MessageBatch)
class BatchAdmin(ExportActionMixin, MessageBatchAdminMixin, admin.ModelAdmin):
    change_list_template = "admin/django_claude_batches/change_list.html"
    change_form_template = "admin/django_claude_batches/messagebatch/change_form.html"
