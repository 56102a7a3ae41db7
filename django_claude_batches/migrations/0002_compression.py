"""Let PostgreSQL compress the large columns by lz4 where it can: its default takes half of all the time to write."""

from __future__ import annotations

from typing import Any

from django.db import migrations, router

COLUMNS = (("BatchRequest", "params_text"), ("BatchResult", "message"))


def has_lz4(connection: Any) -> bool:
    if connection.vendor != "postgresql":
        return False
    with connection.cursor() as cursor:
        cursor.execute("SELECT 'lz4' = ANY(enumvals) FROM pg_settings WHERE name = 'default_toast_compression'")
        return bool((cursor.fetchone() or [False])[0])


def compress(apps: Any, schema_editor: Any) -> None:
    """Concern rows written from now on; those that are there stay as they are, and readable."""
    if not has_lz4(schema_editor.connection):
        return
    for model_name, field_name in COLUMNS:
        model = apps.get_model("django_claude_batches", model_name)
        if not router.allow_migrate_model(schema_editor.connection.alias, model):
            continue
        table, column = model._meta.db_table, model._meta.get_field(field_name).column
        quote = schema_editor.quote_name
        schema_editor.execute(f"ALTER TABLE {quote(table)} ALTER COLUMN {quote(column)} SET COMPRESSION lz4")


class Migration(migrations.Migration):
    dependencies = [("django_claude_batches", "0001_initial")]
    operations = [migrations.RunPython(compress, migrations.RunPython.noop, elidable=False)]
