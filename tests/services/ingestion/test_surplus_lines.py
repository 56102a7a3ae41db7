"""Results with far more lines than the batch has requests: an end, a reason, and no row lost."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from django_claude_batches import services
from django_claude_batches.models import MessageBatch, State
from django_claude_batches.services.ingestion.custom_id_index import CustomIdIndex
from django_claude_batches.services.ingestion.download import MAX_PROBLEMS
from django_claude_batches.testing import Bend, ClaudeEmulator
from tests.harness.factories import make_due, running
from tests.harness.selections import slow_but

pytestmark = [pytest.mark.django_db, pytest.mark.database]

BOUND = 2 * 3 + 1000
REASON = f"more than {BOUND:,} lines came, and the rest was not read"

FLOODS = {
    "lines of no request of ours": Bend(endpoint="results", body="flood", size=100_000),
    "blank lines": Bend(endpoint="results", body="inflated", size=2_000),
    "blank lines in a gzip bomb": Bend(endpoint="results", body="bomb", size=200_000_000),
}


def ended(claude: ClaudeEmulator) -> MessageBatch:
    batch = running(3)
    claude.finish()
    return batch


def again(batch: MessageBatch) -> MessageBatch:
    make_due(batch)
    batch.refresh_from_db()
    return services.advance(batch)


@pytest.mark.parametrize("flood", slow_but(1, FLOODS))
def test_a_flood_ends_the_download_and_counts_as_a_try(claude: ClaudeEmulator, flood: str) -> None:
    batch = ended(claude)
    claude.bend(FLOODS[flood])
    services.advance(batch)
    assert (batch.state, batch.tries) == (State.INCOMPLETE, 1)
    assert batch.results.count() == 3  # what came before is stored
    assert REASON in batch.last_error
    claude.unbend(FLOODS[flood])
    again(batch)
    assert (batch.state, batch.missing_count, batch.last_error) == (State.INGESTED, 0, "")


def test_after_the_last_try_the_batch_is_complete_and_says_why(claude: ClaudeEmulator, settings: Any) -> None:
    settings.CLAUDE_BATCHES = {**settings.CLAUDE_BATCHES, "INGEST_ATTEMPTS": 2}
    batch = ended(claude)
    claude.bend(FLOODS["blank lines"])
    services.advance(batch)
    again(batch)
    assert (batch.state, batch.missing_count) == (State.INGESTED, 0)
    assert REASON in batch.events.get(what="ingested").text


@pytest.mark.slow
def test_problem_lines_are_kept_up_to_a_number_and_counted(claude: ClaudeEmulator) -> None:
    batch = ended(claude)
    claude.bend(FLOODS["lines of no request of ours"])
    services.advance(batch)
    assert batch.problems.count() == MAX_PROBLEMS
    assert f"{BOUND - 3:,} lines were no results, of which 200 are kept" in batch.last_error
    again(batch)
    assert batch.problems.count() == MAX_PROBLEMS  # the same lines are not kept twice


@pytest.mark.slow
def test_what_came_after_the_flood_can_be_fetched_again(claude: ClaudeEmulator, settings: Any) -> None:
    settings.CLAUDE_BATCHES = {**settings.CLAUDE_BATCHES, "INGEST_ATTEMPTS": 1}
    batch = ended(claude)
    claude.fault("foreign_line", count=2000)
    services.advance(batch)
    assert (batch.state, batch.missing_count) == (State.INGESTED, 3)
    assert REASON in batch.missing_reason
    services.reingest(batch)
    again(batch)
    assert (batch.state, batch.missing_count, batch.results.count()) == (State.INGESTED, 0, 3)


@pytest.mark.parametrize("size", [900, 1000])
def test_up_to_a_thousand_lines_too_many_are_no_flood(claude: ClaudeEmulator, size: int) -> None:
    batch = ended(claude)
    claude.fault("blank_lines")
    claude.bend(Bend(endpoint="results", body="inflated", size=size))
    services.advance(batch)
    assert (batch.state, batch.last_error) == (State.INGESTED, "")


@pytest.mark.parametrize("count", slow_but(1, [5_000_000, 0, 1]))
def test_the_counts_of_a_batch_made_elsewhere_bound_nothing(claude: ClaudeEmulator, count: int) -> None:
    """They are the server's, and may be wrong: by them no row is lost, and no memory taken."""
    remote = claude.add_stranger(1200)
    claude.finish()
    claude.bend(Bend(field="request_counts.succeeded", to=count, endpoint=("retrieve", "list")))
    batch = services.adopt(remote)
    tracemalloc.start()
    services.advance(batch)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert batch.results.count() == 1200
    assert peak < 30_000_000


def test_a_huge_count_takes_no_memory(claude: ClaudeEmulator) -> None:
    batch = ended(claude)
    batch.request_count = 20_000_000
    tracemalloc.start()
    CustomIdIndex(batch, using="default")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000
