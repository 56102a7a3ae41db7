"""Empty our tables between the steps. Imported by processes that have set up Django."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.core.management.color import no_style
from django.db import connection
from django.db.models import Model

# The columns of a batch before its results are fetched.
UNFETCHED: dict[str, Any] = {"ingested_at": None, "announced_at": None, "last_error": "", "missing_count": 0}


def reset() -> None:
    """Empty all tables of the package."""
    empty(*apps.get_app_config("django_claude_batches").get_models(), cascade=True)


def empty(*models: type[Model], cascade: bool = False) -> None:
    """Empty these tables, and free their space."""
    tables = [model._meta.db_table for model in models]
    flush = connection.ops.sql_flush(no_style(), tables, reset_sequences=True, allow_cascade=cascade)
    connection.ops.execute_sql_flush(flush)
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM")
