"""Requests are encoded while those before them are stored: what the caller's own code does must not meet that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.utils.safestring import mark_safe

from django_claude_batches.exceptions import InvalidRequest
from django_claude_batches.models import MessageBatch
from tests.harness.factories import item
from tests.harness.library.models import Book

pytestmark = [pytest.mark.django_db, pytest.mark.database, pytest.mark.timeout(60)]


class Lazy(dict[str, Any]):
    """A dict that asks the database when it is encoded."""

    def items(self) -> Any:
        return {**self, "metadata": {"user_id": str(Book.objects.count())}}.items()


def test_the_requests_may_come_from_a_cursor_on_the_same_connection() -> None:
    Book.objects.bulk_create(Book(title=f"Book {number}") for number in range(2500))
    told: list[int] = []
    batch = MessageBatch.objects.create_draft(
        (
            {"custom_id": str(book.pk), "target": book, "params": item(0, system=book.title)["params"]}
            for book in Book.objects.order_by("pk").iterator(chunk_size=100)
        ),
        progress=lambda stored: told.append(Book.objects.count() + stored),
    )
    assert batch.request_count == batch.requests.count() == 2500
    assert told == [3500, 4500, 5000]
    assert [request.target.title for request in batch.requests.order_by("position")[998:1002]] == [
        f"Book {number}" for number in range(998, 1002)
    ]


def test_one_dict_may_be_filled_for_each_item_anew() -> None:
    def requests() -> Iterator[dict[str, Any]]:
        params = item(0)["params"]
        message = params["messages"][0]
        for number in range(1500):
            message["content"] = f"Ticket {number}"
            params["metadata"] = {"user_id": str(number)}
            yield {"params": params}

    batch = MessageBatch.objects.create_draft(requests())
    stored = [request.params for request in batch.requests.order_by("position")]
    assert [params["messages"][0]["content"] for params in stored] == [f"Ticket {number}" for number in range(1500)]
    assert [params["metadata"]["user_id"] for params in stored] == [str(number) for number in range(1500)]


def test_a_chunk_is_as_small_as_its_texts_are_large() -> None:
    """Of any class of text: Django's templates give one of their own."""
    told: list[int] = []
    page = mark_safe("x" * 1_000_000)
    MessageBatch.objects.create_draft((item(n, system=page) for n in range(10)), progress=told.append)
    assert told == [3, 6, 9, 10]


def test_params_may_ask_the_database_when_they_are_encoded() -> None:
    Book.objects.create(title="One")
    batch = MessageBatch.objects.create_draft({"params": Lazy(item(number)["params"])} for number in range(20))
    assert [request.params["metadata"] for request in batch.requests.all()] == [{"user_id": "1"}] * 20


@pytest.mark.parametrize("at", [0, 999, 1000, 1500])
def test_what_cannot_be_encoded_is_named_and_nothing_is_left(at: int) -> None:
    def requests() -> Iterator[dict[str, Any]]:
        for number in range(1600):
            yield item(number, system=object() if number == at else "plain")

    with pytest.raises(InvalidRequest, match=r"params\.system cannot be encoded") as caught:
        MessageBatch.objects.create_draft(requests())
    assert (caught.value.position, caught.value.custom_id) == (at, f"r-{at}")
    assert not MessageBatch.objects.exists()


def test_params_that_hold_themselves_are_refused() -> None:
    params = item(0)["params"]
    params["metadata"] = params
    with pytest.raises(InvalidRequest, match=r"nested|[Cc]ircular"):
        MessageBatch.objects.create_draft([{"params": params}])
