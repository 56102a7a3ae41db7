from __future__ import annotations

from typing import Any
from unittest import mock

import pytest

from django_claude_batches import conf, services
from django_claude_batches.exceptions import Unaskable, UnknownJob
from django_claude_batches.models import BatchRequest, JobRun, MessageBatch
from django_claude_batches.services import cost_confirmation
from django_claude_batches.services.runs.drive import drive_if_due
from tests.harness.library.models import Book, Chapter
from tests.harness.selections import slow_but
from tests.harness.shop import SCHEMA, job, reviews

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def betas(self: Any, row: Any) -> list[str]:
    return [["beta-b", "beta-a"], [], ["beta-a", "beta-b"]][hash(row.pk) % 3]


@pytest.mark.parametrize(
    ("most", "members"),
    slow_but(
        2,
        [
            (None, {}),
            (7, {}),
            (7, {"get_betas": betas, "system": "ü" * 100}),
            (10, {"output_schema": SCHEMA}),
            (None, {"get_prompt": lambda self, row: "x" * 300_000}),
            (4, {"get_queryset": lambda self: Chapter.objects.filter(books__isnull=False)}),
        ],
    ),
)
def test_it_says_what_a_run_then_drafts(settings: Any, most: int | None, members: dict[str, Any]) -> None:
    settings.CLAUDE_BATCHES = {"KICK": False, "MAX_IN_FLIGHT_REQUESTS": most}
    reviews(60)
    books = Book.objects.bulk_create(Book(title=f"Book {number}") for number in range(3))
    for path in ("7", "a b", "chapter-1", "1", "é", "0", "x" * 60):
        Chapter.objects.create(path=path, text="…").books.set(books)
    asking = job(**members)
    look = asking.dry_run()
    assert look.is_complete
    assert not MessageBatch.objects.exists()
    assert not JobRun.objects.exists()
    run = asking.start()
    drive_if_due(run.pk)
    run.refresh_from_db()
    batches = list(run.batches.order_by("pk"))
    assert (look.rows, look.requests) == (run.row_count, sum(batch.request_count for batch in batches))
    assert look.batches == len(batches) > (1 if most else 0)
    assert look.bytes == sum(batch.body_bytes for batch in batches)
    assert look.estimate.cents == cost_confirmation.estimate(batches).cents
    assert look.estimate.as_of == conf.prices().as_of
    asked = {request.object_id: request.params for request in BatchRequest.objects.filter(batch__run=run)}
    rows = dict.fromkeys(str(row.pk) for row in asking().get_queryset().order_by("pk"))
    assert look.samples == [asked[row] for row in list(rows)[:3]]


def test_when_the_time_is_over_it_says_what_it_has_seen() -> None:
    reviews(100)

    seconds = 0

    def get_prompt(self: Any, row: Any) -> str:
        nonlocal seconds
        seconds += 1
        return str(row.text)

    slow = job(get_prompt=get_prompt)
    with mock.patch("time.monotonic", side_effect=lambda: float(seconds)):
        look = slow.dry_run(seconds=10)
    assert (look.rows, look.requests, look.is_complete) == (100, 10, False)
    assert len(look.samples) == 3
    nothing = slow.dry_run(seconds=0)
    assert (nothing.rows, nothing.requests, nothing.batches, nothing.bytes) == (100, 0, 0, 0)
    books = Book.objects.bulk_create(Book(title=f"Book {number}") for number in range(3))
    Chapter.objects.create(path="one").books.set(books)
    joined = job(get_queryset=lambda self: Chapter.objects.filter(books__isnull=False))
    assert joined.dry_run(seconds=0).rows == 1


def test_no_row() -> None:
    look = job().dry_run()
    assert (look.rows, look.requests, look.batches, look.bytes, look.samples, look.is_complete) == (
        0,
        0,
        0,
        0,
        [],
        True,
    )
    assert look.estimate.cents == (0, 0)


def test_a_row_that_cannot_be_asked() -> None:
    rows = reviews(30)
    broken = job(get_betas=lambda self, row: ["two words"] if row.pk == rows[25].pk else [])
    with pytest.raises(Unaskable, match=rf"library\.Review {rows[25].pk}: a beta must be one word"):
        broken.dry_run()
    with pytest.raises(Unaskable, match="gives a slice"):
        job(get_queryset=lambda self: Book.objects.all()[:3]).dry_run()
    with pytest.raises(UnknownJob):
        services.dry_run("no-such-job")
