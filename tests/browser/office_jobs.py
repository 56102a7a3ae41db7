"""The jobs of the shop, and runs of them in each state."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django_claude_batches import job_registry, services
from django_claude_batches.jobs import BatchJob
from django_claude_batches.models import JobRun, RunState
from django_claude_batches.testing import ClaudeEmulator, Failure, Reply
from tests.harness.library.models import Book, Review
from tests.harness.shop import SCHEMA

SYSTEM = "You tag reviews of a shop, as JSON."
TEXTS = (
    "Warm on the first frost, and it still looks new after a winter.",
    "The zip stuck on the second day. I would like my money back.",
    "Bought it twice; my brother took the first one.",
    "Runs small: take one size more than you usually wear.",
    "It kept the rain out for six hours in the hills.",
)
TAGS = ("warm", "zip", "gift", "size", "rain")

# A tag that is missing in the shop's table until it is added.
UNKNOWN = "zip"

FAILED = {
    **dict.fromkeys(range(7, 240, 40), Failure("overloaded_error", "Overloaded", while_running=True)),
    **dict.fromkeys(range(13, 240, 90), Failure("invalid_request_error", "messages.0.content: too many images")),
    **dict.fromkeys(range(22, 240, 110), Reply("I would rather not.", stop_reason="refusal")),
}

# Tags that were added later.
ADDED: set[str] = set()


def answer(custom_id: str) -> str | Reply | Failure:
    """Tag a review. Some requests fail; overloaded ones fail once."""
    number = int(custom_id.rpartition("_")[2])
    if number in FAILED and number not in _overloaded:
        if number % 40 == 7:
            _overloaded.add(number)
        return FAILED[number]
    return f'{{"tags": ["{TAGS[number % len(TAGS)]}"]}}'


# Rows that failed once already.
_overloaded: set[int] = set()


@contextmanager
def declared() -> Iterator[None]:
    """Register the shop's jobs while this is entered."""
    names = [job.name for job in (_tag_reviews(), _describe_books())]
    try:
        yield
    finally:
        ADDED.clear()
        _overloaded.clear()
        for name in names:
            job_registry.unregister(name)


def _tag_reviews() -> type[BatchJob]:
    class TagReviews(BatchJob):
        """Tag each new review, for the shop's filters."""

        name = "shop-review-tags"
        claude_model = "claude-haiku-4-5"
        max_tokens = 200
        system = SYSTEM
        output_schema = SCHEMA

        def get_queryset(self) -> Any:
            return Review.objects.filter(tags="")

        def get_prompt(self, review: Review) -> str:
            return f"Tag this review:\n{review.text}"

        def on_result(self, review: Review, result: Any) -> None:
            (tag,) = result.output["tags"]
            if tag == UNKNOWN and review.pk % 3 == 0 and tag not in ADDED:
                raise LookupError(f'no tag "{tag}" in this shop')
            review.tags, review.effects = tag, review.effects + 1
            review.save()

    return TagReviews


def _describe_books() -> type[BatchJob]:
    class DescribeBooks(BatchJob):
        """Write the two lines below a book's title."""

        name = "shop-book-summaries"
        claude_model = "claude-sonnet-5"

        def get_queryset(self) -> Any:
            return Book.objects.filter(summary="")

        def get_prompt(self, book: Book) -> str:
            if not book.title:
                raise ValueError("this book has no title")
            return f"Two lines about {book.title}."

    return DescribeBooks


def write_reviews(count: int) -> None:
    Review.objects.bulk_create(Review(text=TEXTS[number % len(TEXTS)]) for number in range(count))


def advanced(run: JobRun, claude: ClaudeEmulator, *, rounds: int = 6) -> JobRun:
    """Advance the run, and end its batches at Anthropic, at most this number of times."""
    for _round in range(rounds):
        services.advance_run(run)
        if not run.is_active or run.is_paused:
            break
        for batch in run.batches.running():
            claude.finish(batch.anthropic_id)
    return run


def finished_run(claude: ClaudeEmulator, by: Any) -> JobRun:
    """Return a run that is completely delivered, with failed rows and failed deliveries."""
    run = advanced(services.start_job("shop-review-tags", label="Reviews of November", by=by), claude)
    assert run.state == RunState.FINISHED, (run.state, run.pause_reason, run.last_error)
    return run
