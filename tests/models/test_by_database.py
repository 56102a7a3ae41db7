"""What the second migration gives to the databases that know it."""

from __future__ import annotations

import pytest
from django.db import connection

from django_claude_batches.models import BatchRequest, BatchResult

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def test_large_columns_are_compressed_by_lz4_where_postgresql_has_it() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("PostgreSQL compresses columns")
    with connection.cursor() as cursor:
        cursor.execute("SELECT 'lz4' = ANY(enumvals) FROM pg_settings WHERE name = 'default_toast_compression'")
        (has_lz4,) = cursor.fetchone()
        cursor.execute(
            "SELECT attname, attcompression FROM pg_attribute WHERE attrelid IN (%s::regclass, %s::regclass) "
            "AND attname IN ('params', 'message')",
            [BatchRequest._meta.db_table, BatchResult._meta.db_table],
        )
        assert dict(cursor.fetchall()) == dict.fromkeys(("params", "message"), "l" if has_lz4 else "")


def test_failures_have_an_index_where_it_may_be_partial() -> None:
    with connection.cursor() as cursor:
        indexes = connection.introspection.get_constraints(cursor, BatchResult._meta.db_table)
    assert ("dcb_result_failed" in indexes) == connection.features.supports_partial_indexes
