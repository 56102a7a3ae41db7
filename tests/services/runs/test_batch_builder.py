from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from django_claude_batches import conf, services
from django_claude_batches.models import JobRun, MessageBatch, State
from django_claude_batches.services.runs.batch_builder import BatchBuilder
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import prepared

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def run(db: None) -> JobRun:
    return JobRun.objects.create(job="tag-reviews", label="nightly", next_action_at=timezone.now())


def filling(run: JobRun, **options: Any) -> BatchBuilder:
    return BatchBuilder(run, using="default", **{"attempt": 1, "most": 1000, **options})


TEXTS = [f"{'ü' * (number * 37 % 300)}" for number in range(100)]


def test_batches_are_full_to_the_byte_that_is_sent(run: JobRun, claude: ClaudeEmulator) -> None:
    most = 10_000
    for start in range(0, 100, 7):  # as pages of a run, each of which goes on where the last one stopped
        page = filling(run, most_bytes=most)
        for number in range(start, min(start + 7, 100)):
            page.add(prepared(number, TEXTS[number]), ())
        page.store()
    filling(run, most_bytes=most).close()
    batches = list(MessageBatch.objects.order_by("pk"))
    assert len(batches) > 3
    assert sum(batch.request_count for batch in batches) == 100
    for batch in batches:
        services.advance(services.submit(batch))
    sent = [received.body_bytes for received in claude.requests if received.method == "POST"]
    assert sent == [batch.body_bytes for batch in batches]
    first_of_next = [batch.requests.get(position=0).params_bytes for batch in batches[1:]]
    for size, following in zip(sent, first_of_next, strict=False):
        assert size <= most < size + following + 100


def test_exactly_full(run: JobRun) -> None:
    sizes = []
    for spare in (0, 1):
        page = filling(run, attempt=1 + spare, most_bytes=sizes[0] - spare if sizes else 10**6)
        for number in range(10):
            page.add(prepared(number), ())
        page.close()
        batches = MessageBatch.objects.filter(run_attempt=1 + spare).order_by("pk")
        sizes = [batch.body_bytes for batch in batches]
        assert [batch.request_count for batch in batches] == ([9, 1] if spare else [10])


def test_positions_are_ids_where_there_is_no_other(run: JobRun) -> None:
    page = filling(run, most=4)
    for number in range(10):
        page.add(prepared(number), ())
    page.close()
    ids = [list(batch.requests.values_list("custom_id", flat=True)) for batch in MessageBatch.objects.order_by("pk")]
    assert ids == [["r-0", "1", "2", "r-3"], ["0", "1", "r-6", "3"], ["0", "r-9"]]


def test_betas_have_batches_of_their_own_however_they_alternate(run: JobRun, claude: ClaudeEmulator) -> None:
    kinds = [(), ("beta-a",), ("beta-a", "beta-b")]
    for start in (0, 30):
        page = filling(run, most=15)
        for number in range(start, start + 30):
            page.add(prepared(number), kinds[number % 3])
        page.store()
    filling(run, most=15).close()
    batches = MessageBatch.objects.order_by("pk")
    assert sorted((batch.betas, batch.request_count) for batch in batches) == [
        (list(betas), count) for betas in kinds for count in (5, 15)
    ]
    for batch in batches:
        services.advance(services.submit(batch))
    headers = [received.headers.get("anthropic-beta", "") for received in claude.requests if received.method == "POST"]
    assert [sorted(filter(None, header.split(","))) for header in headers] == [batch.betas for batch in batches]


def test_what_stands_on_the_batches(run: JobRun) -> None:
    page = filling(run)
    for number in range(3):
        page.add(prepared(number), ())
    page.store()
    batch = MessageBatch.objects.get()
    assert (batch.kind, batch.label, batch.run, batch.run_attempt) == ("tag-reviews", "nightly", run, 1)
    assert (batch.is_filling, batch.request_count, batch.state) == (True, 3, State.DRAFT)
    filling(run).close()
    batch.refresh_from_db()
    assert not batch.is_filling
    assert batch.estimate(conf.prices()).high is not None
    assert [event.text for event in batch.events.filter(what="drafted")] == [
        f"3 requests, {batch.body_bytes:,} bytes, by run {run}"
    ]
    parent = MessageBatch.objects.get()
    again = filling(run, attempt=2, parent=parent)
    again.add(prepared(0), ())
    again.close()
    child = MessageBatch.objects.latest("pk")
    assert (child.parent, child.run_attempt, child.request_count) == (parent, 2, 1)


def test_requests_do_not_gather_in_memory(run: JobRun) -> None:
    page = filling(run)
    for number in range(10):
        page.add(prepared(number, "x" * 1_000_000), ())
    assert MessageBatch.objects.get().requests.count() >= 5
    page.close()
    assert MessageBatch.objects.get().requests.count() == 10
