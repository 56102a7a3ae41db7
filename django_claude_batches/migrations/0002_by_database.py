"""Changes for databases that support them, which the state of a model cannot express.

- PostgreSQL compresses large columns with lz4, if available: with its default, writing takes twice as long.
- Partial indexes of the few results that people look for: failed ones, in order and by error type; incomplete answers;
  answers that do not fit their job's schema; results not billed at the batch rate, or of unknown cost. In
  `Meta.indexes` they would cause warnings from Django's system checks on MySQL.
"""

from __future__ import annotations

from typing import Any

from django.db import migrations, models, router

LARGE = (
    *(("BatchRequest", "params_text"), ("BatchRequest", "cells_text")),
    *(("BatchResult", "message"), ("UploadPart", "data")),
)
IS_FAILED = ~models.Q(result_type="succeeded")
IS_EARLY = models.Q(result_type="succeeded") & ~models.Q(stop_reason__in=["end_turn", "stop_sequence", "tool_use"])
IS_INVALID = models.Q(output_error__isnull=False)
IS_OFF_TIER = ~models.Q(service_tier__in=["batch", ""])
BY_KIND = ["batch", "result_type", "error_type", "custom_id"]
PARTIAL = (
    models.Index(fields=["batch", "id"], name="dcb_result_failed", condition=IS_FAILED),
    models.Index(fields=BY_KIND, name="dcb_result_error", condition=IS_FAILED),
    models.Index(fields=["batch", "stop_reason", "custom_id"], name="dcb_result_stop", condition=IS_EARLY),
    models.Index(fields=["batch", "custom_id"], name="dcb_result_invalid", condition=IS_INVALID),
    models.Index(fields=["batch", "custom_id"], name="dcb_result_tier", condition=IS_OFF_TIER),
    models.Index(fields=["batch", "custom_id"], name="dcb_result_cost", condition=models.Q(cost_usd__isnull=True)),
)


def has_lz4(connection: Any) -> bool:
    if connection.vendor != "postgresql":
        return False
    with connection.cursor() as cursor:
        cursor.execute("SELECT 'lz4' = ANY(enumvals) FROM pg_settings WHERE name = 'default_toast_compression'")
        return bool((cursor.fetchone() or [False])[0])


def compress(apps: Any, schema_editor: Any) -> None:
    """Compress values that are written from now on. Existing values stay as they are, and readable."""
    if not has_lz4(schema_editor.connection):
        return
    quote = schema_editor.quote_name
    for model_name, field_name in LARGE:
        model = apps.get_model("django_claude_batches", model_name)
        if router.allow_migrate_model(schema_editor.connection.alias, model):
            table, column = quote(model._meta.db_table), quote(model._meta.get_field(field_name).column)
            schema_editor.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET COMPRESSION lz4")


def index_parts(apps: Any, schema_editor: Any) -> None:
    model = apps.get_model("django_claude_batches", "BatchResult")
    if _indexes_parts(schema_editor, model):
        for index in PARTIAL:
            schema_editor.add_index(model, index)


def remove_parts(apps: Any, schema_editor: Any) -> None:
    model = apps.get_model("django_claude_batches", "BatchResult")
    if _indexes_parts(schema_editor, model):
        for index in PARTIAL:
            schema_editor.remove_index(model, index)


def _indexes_parts(schema_editor: Any, model: Any) -> bool:
    connection = schema_editor.connection
    return connection.features.supports_partial_indexes and router.allow_migrate_model(connection.alias, model)


class Migration(migrations.Migration):
    dependencies = [("django_claude_batches", "0001_initial")]
    operations = [
        migrations.RunPython(compress, migrations.RunPython.noop, elidable=False),
        migrations.RunPython(index_parts, remove_parts, elidable=False),
    ]
