from __future__ import annotations

from django.db import connection


def of_tenant() -> str:
    """Give the API key of the tenant whose schema is in use; a real one would come from a vault."""
    return f"sk-ant-api03-{connection.schema_name}"
