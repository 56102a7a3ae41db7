"""`iterator()` of the package's querysets yields Django's rows in Django's order, without a server-side cursor."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection, connections, models
from django.db.models import Count
from django.test.utils import CaptureQueriesContext

from django_claude_batches.db import leases
from django_claude_batches.models import BatchRequest, BatchResult, MessageBatch
from tests.harness.factories import draft, item
from tests.harness.library.models import Book
from tests.harness.selections import slow_but

pytestmark = [pytest.mark.django_db, pytest.mark.database]

Reading = Callable[[Any], Any]


@pytest.fixture
def batch() -> MessageBatch:
    """Results of 23 requests about books, stored in another order; and a result without a request."""
    draft(3)
    items = ({**item(number), "target": Book.objects.create(title=f"Book {number}")} for number in range(23))
    batch = MessageBatch.objects.create_draft(items)
    for request in batch.requests.order_by("-custom_id"):
        kind = "errored" if request.position % 5 == 4 else "succeeded"
        columns = {"custom_id": request.custom_id, "result_type": kind, "input_tokens": request.position % 3}
        BatchResult.objects.create(batch=batch, request=request, **columns)
    BatchResult.objects.create(batch=batch, custom_id="stranger", result_type="succeeded")
    return batch


READINGS: dict[str, Reading] = {
    "all": lambda batch: batch.results.order_by("pk"),
    "filtered": lambda batch: batch.results.succeeded().order_by("pk"),
    "in the order of requests": lambda batch: batch.results.in_request_order(),
    "downwards": lambda batch: batch.results.order_by("-pk"),
    "reversed": lambda batch: batch.results.order_by("pk").reverse(),
    "by a column with equals": lambda batch: batch.results.order_by("input_tokens", "-pk"),
    "requests": lambda batch: batch.requests.all(),
    "values": lambda batch: batch.results.in_request_order().values("custom_id", "request__position"),
    "tuples": lambda batch: batch.results.order_by("pk").values_list("custom_id", flat=True),
    "a slice": lambda batch: batch.results.in_request_order()[3:11],
    "groups": lambda batch: batch.results.order_by("result_type").values("result_type").annotate(count=Count("pk")),
    "distinct": lambda batch: batch.results.order_by("result_type").values("result_type").distinct(),
    "united": lambda batch: batch.results.succeeded().union(batch.results.errored()).order_by("custom_id"),
    "several of one": lambda batch: MessageBatch.objects.filter(results__result_type="succeeded").order_by("pk"),
    "annotated": lambda batch: MessageBatch.objects.annotate(count=Count("results")).order_by("-pk"),
    "none": lambda batch: batch.results.none(),
}


@pytest.mark.parametrize("reading", slow_but(2, READINGS))
@pytest.mark.parametrize("size", slow_but(2, [7, 1, 24, 100]))
def test_the_rows_are_those_of_the_queryset(
    batch: MessageBatch, reading: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "MAX_KEYS", 10)
    rows = READINGS[reading](batch)
    assert list(rows.iterator(chunk_size=size)) == list(rows)


@pytest.mark.parametrize("rows", [BatchResult.objects.all(), BatchResult.objects.all().reverse()])
def test_unordered_rows_are_read_by_key(
    batch: MessageBatch, rows: models.QuerySet[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "MAX_KEYS", 10)
    assert list(rows.iterator()) == list(BatchResult.objects.order_by("pk"))


def test_targets_are_fetched_with_each_chunk(batch: MessageBatch) -> None:
    with CaptureQueriesContext(
        connection,
    ) as queries:
        titles = [
            result.target.title
            for result in batch.results.filter(request__isnull=False)
            .with_target()
            .in_request_order()
            .iterator(chunk_size=10)
        ]
    assert titles == [f"Book {number}" for number in range(23)]
    assert len([query for query in queries if "library_book" in query["sql"]]) == 3


def test_rows_may_be_changed_so_that_they_no_longer_match(batch: MessageBatch) -> None:
    seen = []
    for result in batch.results.succeeded().iterator(chunk_size=4):
        seen.append(result.pk)
        BatchResult.objects.filter(pk=result.pk).update(result_type="read")
    assert len(seen) == len(set(seen)) == 20
    assert not batch.results.succeeded().exists()


def test_only_the_needed_chunk_is_read(batch: MessageBatch) -> None:
    with CaptureQueriesContext(connection) as queries:
        next(batch.results.in_request_order().iterator(chunk_size=5))
    assert len(queries) == 2


def test_a_chunk_size_of_zero_is_refused(batch: MessageBatch) -> None:
    with pytest.raises(ValueError, match="positive"):
        batch.results.iterator(chunk_size=0)


@pytest.mark.django_db(transaction=True)
def test_no_server_side_cursor_is_opened(batch: MessageBatch) -> None:
    """Also outside a transaction, where Django would declare a cursor WITH HOLD."""
    if connection.vendor != "postgresql":
        pytest.skip("only PostgreSQL has server-side cursors in Django")
    with CaptureQueriesContext(connection) as queries:
        for rows in (
            batch.results.all(),
            batch.results.in_request_order(),
            BatchRequest.objects.all(),
            batch.results.all()[:5],
        ):
            list(rows.iterator(chunk_size=3))
    assert queries.captured_queries
    assert not any("CURSOR" in query["sql"] for query in queries)


@pytest.mark.django_db(transaction=True)
def test_aiterator_yields_the_same_rows(batch: MessageBatch) -> None:
    rows = batch.results.in_request_order()

    async def read() -> list[str]:
        try:
            return [result.custom_id async for result in rows.aiterator(chunk_size=4)]
        finally:
            await sync_to_async(connections.close_all)()  # of the thread that ran the queries

    if connection.vendor == "sqlite":
        pytest.skip("an in-memory database belongs to one thread")
    assert asyncio.run(read()) == list(rows.values_list("custom_id", flat=True))


def test_the_number_of_keys_in_a_query_is_bounded(batch: MessageBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "MAX_KEYS", 10)
    with CaptureQueriesContext(connection) as queries:
        assert len(list(batch.results.order_by("-pk").iterator(chunk_size=1_000_000))) == 24
    assert len(queries) == 1 + 3
