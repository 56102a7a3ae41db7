"""What a delivery asks of the database: for a row a savepoint, what its handler does, and its output."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_claude_batches import services
from django_claude_batches.models import BatchRequest, BatchResult
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.library.models import Review
from tests.harness.shop import SCHEMA, deliver_all, effects, fetched, job, over, reviews

pytestmark = [pytest.mark.django_db, pytest.mark.database]

SAVEPOINT = 2
"""It is begun and ended."""


def statements(count: int, claude: ClaudeEmulator, **members: Any) -> int:
    Review.objects.all().delete()
    reviews(count)
    run = job(on_result=lambda self, review, result: None, **members).start()
    fetched(run, claude)
    with CaptureQueriesContext(connection) as captured:
        deliver_all()
    over(run, claude)
    return len(captured)


def test_a_row_costs_a_savepoint(claude: ClaudeEmulator) -> None:
    few, many = (statements(count, claude) for count in (5, 105))
    assert many - few == 100 * SAVEPOINT
    assert few - 5 * SAVEPOINT <= 20


def test_outputs_are_written_at_once(claude: ClaudeEmulator) -> None:
    few, many = (statements(count, claude, output_schema=SCHEMA) for count in (5, 105))
    assert many - few == 100 * SAVEPOINT


@pytest.mark.slow
def test_parked_rows_are_taken_away_at_once(claude: ClaudeEmulator) -> None:
    def again(count: int) -> int:
        Review.objects.all().delete()
        reviews(count)

        def broken(self: Any, review: Review, result: Any) -> None:
            raise LookupError

        run = over(job(on_result=broken).start(), claude)
        job(on_result=lambda self, review, result: None)
        services.redeliver_failed(run)
        with CaptureQueriesContext(connection) as captured:
            deliver_all()
        return len(captured)

    few, many = again(5), again(105)
    assert many - few == 100 * SAVEPOINT


@pytest.mark.slow
def test_nothing_of_a_delivery_stays_in_memory(claude: ClaudeEmulator) -> None:
    """Cycles that Python's collector had still to find were 26 MB at 250,000 rows."""
    reviews(20)
    fetched(job().start(), claude)
    gc.collect()
    before = in_memory()  # of other tests, whose tracebacks keep their frames
    gc.disable()
    try:
        deliver_all()
        left = [each for each in in_memory() if not any(each is other for other in before)]
    finally:
        gc.enable()
    assert (effects(), left) == ([1] * 20, [])


def in_memory() -> list[BatchRequest | BatchResult]:
    # By its type: `isinstance` asks the object too, and a dead weakref.proxy raises then.
    return [each for each in gc.get_objects() if issubclass(type(each), (BatchRequest, BatchResult))]
