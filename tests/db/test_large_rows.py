"""Large rows are stored within the limits of the server: by default, MariaDB accepts 16 MB in a statement."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from django_claude_batches import services
from django_claude_batches.models import MessageBatch, State, bulk
from django_claude_batches.testing import ClaudeEmulator
from django_claude_batches.testing.emulator.replies import Reply
from tests.harness.factories import draft, item
from tests.harness.selections import slow_but

pytestmark = [pytest.mark.django_db, pytest.mark.database]


class Longest:
    """The most bytes of parameters that any one statement had."""

    def __init__(self) -> None:
        self.bytes = 0

    def __call__(self, execute: Any, sql: str, params: Any, many: Any, context: Any) -> Any:
        self.bytes = max(self.bytes, size(params or ()))
        return execute(sql, params, many, context)


def size(values: Any) -> int:
    """Return the bytes of texts. A list is a column: Django inserts with UNNEST on PostgreSQL."""
    return sum(len(v.encode()) if isinstance(v, str) else size(v) for v in values if isinstance(v, (str, list, tuple)))


def documents(count: int, text: str) -> Iterator[Any]:
    for number in range(count):
        yield item(number, system=text)


@pytest.mark.parametrize(
    "text", slow_but(1, ["x" * 1_000_000, '"\\' * 500_000, "語" * 330_000]), ids=["plain", "escaped", "wide"]
)
def test_large_requests_are_inserted_a_few_at_a_time(text: str) -> None:
    """40 MB of documents, such as PDFs. One INSERT would also hold all of them in memory."""
    longest = Longest()
    with connection.execute_wrapper(longest):
        batch = MessageBatch.objects.create_draft(documents(40, text))
    assert batch.requests.count() == 40
    assert longest.bytes <= bulk.PACKET_BYTES + 10_000


@pytest.mark.parametrize(
    "text", slow_but(1, ["x" * 1_000_000, '"\\' * 500_000, "語" * 330_000]), ids=["plain", "escaped", "wide"]
)
def test_large_results_are_stored(text: str) -> None:
    """JSON columns are written with escapes: a character of 3 bytes takes 7 in a statement."""
    with ClaudeEmulator(seed=1, replies=lambda params, custom_id: Reply(text)) as claude:
        batch = services.advance(services.submit(draft(16)))
        claude.finish()
        services.advance(batch)
    assert (batch.state, batch.results.succeeded().count()) == (State.INGESTED, 16), batch.last_error
    assert batch.results.first().text == text
