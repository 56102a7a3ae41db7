"""What a download knows of its batch without asking the database for each line."""

from __future__ import annotations

from typing import Any

import pytest

from django_claude_batches.models import BatchResult
from django_claude_batches.services.ingestion.custom_id_index import EXPECTED, RECEIVED, STORED, CustomIdIndex
from tests.harness.factories import draft

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def test_each_request_has_its_primary_key_and_says_whether_its_result_is_stored() -> None:
    batch = draft(300)
    stored = batch.requests.get(custom_id="r-7")
    BatchResult.objects.create(batch=batch, request=stored, custom_id="r-7", result_type="errored")
    awaited = CustomIdIndex(batch, using="default")
    for request in batch.requests.all():
        number = awaited.number(request.custom_id.encode())
        assert awaited.pks[number] == request.pk
        assert awaited.states[number] == (STORED if request == stored else EXPECTED)


def test_where_all_are_stored_no_request_is_read(django_assert_num_queries: Any) -> None:
    batch = draft(2)
    for request in batch.requests.all():
        BatchResult.objects.create(batch=batch, request=request, custom_id=request.custom_id, result_type="errored")
    with django_assert_num_queries(1):
        awaited = CustomIdIndex(batch, using="default")
    assert {awaited.states[awaited.number(custom_id)] for custom_id in (b"r-0", b"r-1")} == {STORED}


def test_a_stranger_that_is_stored_does_not_stand_for_a_request() -> None:
    batch = draft(2)
    first, second = batch.requests.order_by("position")
    BatchResult.objects.create(batch=batch, request=first, custom_id="r-0", result_type="errored")
    BatchResult.objects.create(batch=batch, custom_id="stranger", result_type="errored")
    awaited = CustomIdIndex(batch, using="default")
    assert awaited.pks[awaited.number(b"r-1")] == second.pk


def test_other_batches_are_not_looked_at() -> None:
    draft(3)
    batch = draft(2)
    awaited = CustomIdIndex(batch, using="default")
    assert sorted(awaited.pks) == sorted(batch.requests.values_list("pk", flat=True))


def test_an_id_that_is_no_requests_is_remembered_however_many_there_are() -> None:
    batch = draft(1)
    BatchResult.objects.create(batch=batch, custom_id="stranger", result_type="errored")
    awaited = CustomIdIndex(batch, using="default")
    assert awaited.states[awaited.number(b"stranger")] == STORED
    numbers = [awaited.number(b"other-%d" % index) for index in range(5000)]
    assert len(set(numbers)) == 5000
    assert {awaited.pks[number] for number in numbers} == {0}
    awaited.states[numbers[17]] = RECEIVED
    assert [awaited.number(b"other-%d" % index) for index in range(5000)] == numbers
    assert awaited.states[awaited.number(b"other-17")] == RECEIVED
    assert awaited.pks[awaited.number(b"r-0")] == batch.requests.get().pk


@pytest.mark.parametrize("custom_id", ["r", "r-", "r-0-", "R-0", "-r-0"])
def test_nothing_like_it_is_taken_for_it(custom_id: str) -> None:
    awaited = CustomIdIndex(draft(1), using="default")
    assert awaited.number(custom_id.encode()) != awaited.number(b"r-0")
