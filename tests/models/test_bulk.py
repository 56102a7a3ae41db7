"""Bulk inserts store the same rows on every database, whether by COPY or by INSERT."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import models

from django_claude_batches.db.postgres_copy import Values
from django_claude_batches.exceptions import InvalidRequest
from django_claude_batches.models import BatchRequest, BatchResult, MessageBatch, bulk, bulk_rows
from tests.harness.factories import draft, item

pytestmark = [pytest.mark.django_db, pytest.mark.database]

ODD = [
    "\\N",
    "\\.",
    "a\\b",
    "tab\there",
    "line\nline",
    "return\rhere",
    '"quoted"',
    "é 😀 \u2028 \ufeff",
    "%s",
    "{}",
    "",
]


@pytest.mark.parametrize(
    ("table", "model", "unwritten"),
    [
        (bulk_rows.RESULT_TABLE, BatchResult, {"id", "output", "output_error", "cost_usd"}),
        (bulk_rows.REQUEST_TABLE, BatchRequest, {"id", "erased_at"}),
    ],
    ids=["results", "requests"],
)
def test_every_column_is_written_except_the_named_ones(
    table: bulk_rows.Table, model: type[models.Model], unwritten: set[str]
) -> None:
    assert {*table.columns} | unwritten == {field.column for field in model._meta.concrete_fields}


@pytest.mark.parametrize("text", ODD)
def test_texts_are_stored_unchanged(text: str) -> None:
    batch = draft(1)
    row = bulk_rows.ResultRow(
        "x", "errored", error_message=text, error_type=text, raw=text.encode() + bytes(range(256))
    )
    assert not bulk.insert_results(iter([bulk_rows.result_values(batch.pk, row)]), using="default")
    stored = batch.results.get()
    assert (stored.error_message, stored.error_type, bytes(stored.raw)) == (text, text, row.raw)
    assert (stored.message, stored.input_tokens, stored.request_id) == (None, None, None)


def test_a_row_that_the_database_refuses_is_named_and_the_others_are_stored() -> None:
    batch = draft(3)
    results = [
        bulk_rows.ResultRow("r-0", "errored"),
        bulk_rows.ResultRow("r-1", "x" * 99),
        bulk_rows.ResultRow("r-2", "errored"),
    ]
    twice = [*results, bulk_rows.ResultRow("r-0", "expired")]
    refused = bulk.insert_results((bulk_rows.result_values(batch.pk, row) for row in twice), using="default")
    assert 3 in refused
    # SQLite has no lengths.
    stored = batch.results.order_by("pk").values_list("custom_id", "result_type")
    assert [row for row in stored if row[0] != "r-1"] == [("r-0", "errored"), ("r-2", "errored")]
    assert (1 in refused) != (len(stored) == 3)


def test_only_the_refused_rows_of_many_are_not_stored() -> None:
    """With so many rows, PostgreSQL raises while later rows are still being built."""
    batch = draft(1)
    bad = {5, 1700, 2999}
    results = (
        bulk_rows.ResultRow(f"r-{number}", "x" * (99 if number in bad else 9), error_message="y" * 2000)
        for number in range(3000)
    )
    refused = bulk.insert_results((bulk_rows.result_values(batch.pk, row) for row in results), using="default")
    assert set(refused) in (bad, set())  # SQLite has no lengths
    assert batch.results.count() == 3000 - len(refused)


def test_an_error_while_building_rows_is_not_a_refusal_by_the_database() -> None:
    batch = draft(2)

    def broken() -> Iterator[Values]:
        yield bulk_rows.result_values(batch.pk, bulk_rows.ResultRow("r-0", "errored"))
        raise ValueError("a bug of ours")

    with pytest.raises(ValueError, match="a bug of ours"):
        bulk.insert_results(broken(), using="default")
    assert not batch.results.exists()


@pytest.mark.parametrize("at", [1, 1000, 2500])
def test_a_repeated_custom_id_is_named_in_any_chunk(at: int) -> None:
    def requests() -> object:
        yield from map(item, range(at))
        yield item(0)

    with pytest.raises(InvalidRequest, match="used twice") as caught:
        MessageBatch.objects.create_draft(requests())
    assert (caught.value.position, caught.value.custom_id) == (at, "r-0")
    assert not MessageBatch.objects.exists()
    assert not BatchRequest.objects.exists()
