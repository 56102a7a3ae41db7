"""The changes of the second migration, on the databases that support them."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.models import Count

from django_claude_batches.models import BatchRequest, BatchResult, UploadPart
from tests.harness.factories import draft

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def test_large_columns_are_compressed_by_lz4_where_postgresql_has_it() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("only PostgreSQL compresses columns")
    with connection.cursor() as cursor:
        cursor.execute("SELECT 'lz4' = ANY(enumvals) FROM pg_settings WHERE name = 'default_toast_compression'")
        (has_lz4,) = cursor.fetchone()
        cursor.execute(
            "SELECT attname, attcompression FROM pg_attribute WHERE attrelid = ANY(%s::regclass[]) "
            "AND attname IN ('params', 'message', 'data')",
            [[model._meta.db_table for model in (BatchRequest, BatchResult, UploadPart)]],
        )
        assert dict(cursor.fetchall()) == dict.fromkeys(("params", "message", "data"), "l" if has_lz4 else "")


def test_partial_indexes_exist_where_they_are_supported() -> None:
    with connection.cursor() as cursor:
        indexes = connection.introspection.get_constraints(cursor, BatchResult._meta.db_table)
    partial = {"dcb_result_failed", "dcb_result_error", "dcb_result_stop", "dcb_result_tier", "dcb_result_cost"}
    assert partial & set(indexes) == (partial if connection.features.supports_partial_indexes else set())


def test_identifiers_are_sorted_byte_by_byte() -> None:
    batch = draft(1)
    names = ["_", "B", "a", "a-1", "aa", "b"]
    BatchResult.objects.bulk_create(BatchResult(batch=batch, custom_id=name, result_type="x") for name in names)
    found = BatchResult.objects.order_by("custom_id").values_list("custom_id", flat=True)
    assert list(found) == sorted(names)


def test_incomplete_answers_are_counted_with_a_partial_index() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("only PostgreSQL uses the index if the values are parameters")
    batch = draft(1)
    rows = (
        BatchResult(
            batch=batch,
            custom_id=str(number),
            result_type="succeeded",
            stop_reason="end_turn" if number % 100 else "max_tokens",
        )
        for number in range(3000)
    )
    BatchResult.objects.bulk_create(rows, batch_size=1000)
    with connection.cursor() as cursor:
        cursor.execute(f"REINDEX TABLE {BatchResult._meta.db_table}")  # entries of earlier tests add to the cost
        cursor.execute("ANALYZE")
        cursor.execute("SET LOCAL enable_seqscan = off")  # the table is small
    counted = BatchResult.objects.ended_early().filter(batch__in=[batch.pk]).order_by().values_list("stop_reason")
    assert "dcb_result_stop" in counted.annotate(Count("pk")).explain()
