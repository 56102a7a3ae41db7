from __future__ import annotations

from django.db import connection


def of_tenant() -> str:
    """Return the API key of the current schema's tenant; a real one would come from a vault."""
    return f"sk-ant-api03-{connection.schema_name}"
