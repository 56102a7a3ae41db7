"""The job that is measured, with and without an output schema, and its rows.

Imported by processes that have set up Django.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from django_claude_batches.jobs import BatchJob
from django_claude_batches.models.bulk_rows import ResultRow
from tests.benchmarks.steps.requests import Requests
from tests.harness.library.models import Review

PLAIN, WITH_SCHEMA = "tag-reviews", "tag-reviews-by-schema"
PIECE = 1000

# The number of answers that this process has handled, by job.
handled: Counter[str] = Counter()

TAGS = ["quiet", "well made", "expensive", "arrived late"]


class Tagging(BatchJob, abstract=True):
    claude_model = "claude-haiku-4-5"
    max_tokens = 200

    def get_queryset(self) -> Any:
        return Review.objects.filter(tags="")

    def get_prompt(self, review: Review) -> str:
        return f"Tag this review:\n{review.text}"


class TagReviews(Tagging):
    name = PLAIN

    def on_result(self, review: Review, result: Any) -> None:
        review.tags = result.text
        review.save(update_fields=["tags"])
        handled[PLAIN] += 1


class TagReviewsBySchema(Tagging):
    name = WITH_SCHEMA
    output_schema = {
        "type": "object",
        "properties": {"tags": {"type": "array", "items": {"type": "string"}}},
        "required": ["tags"],
    }

    def on_result(self, review: Review, result: Any) -> None:
        review.tags = ", ".join(result.output["tags"])
        review.save(update_fields=["tags"])
        handled[WITH_SCHEMA] += 1


def fill(count: int) -> None:
    """Create this number of reviews, of 2 KB each."""
    reviews: list[Review] = []
    for _name, params in Requests(count):
        reviews.append(Review(text=params["messages"][0]["content"]))
        if len(reviews) == PIECE:
            Review.objects.bulk_create(reviews)
            reviews.clear()
    Review.objects.bulk_create(reviews)


def answer(custom_id: str) -> str:
    """Return an answer's text: the tags of one row."""
    return json.dumps({"tags": [*TAGS, f"of {custom_id}"]})


def results(requests: Iterator[tuple[int, str]]) -> Iterator[ResultRow]:
    """Yield a succeeded result for each request (its primary key and custom_id)."""
    for pk, custom_id in requests:
        usage = {"input_tokens": 420, "output_tokens": 40, "service_tier": "batch", "cache_read_input_tokens": 0}
        message = {
            "id": f"msg_{pk:024d}",
            "type": "message",
            "role": "assistant",
            "model": "claude-haiku-4-5-20251001",
            "content": [{"type": "text", "text": answer(custom_id)}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": usage,
        }
        yield ResultRow(
            custom_id,
            "succeeded",
            message=json.dumps(message),
            stop_reason="end_turn",
            model="claude-haiku-4-5-20251001",
            input_tokens=420,
            output_tokens=40,
            service_tier="batch",
            request_id=pk,
        )
