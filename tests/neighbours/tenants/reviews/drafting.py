"""Both ways to draft, as docs/how-to/tenants.md shows them."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import connection

from django_claude_batches import services
from django_claude_batches.models import MessageBatch
from tests.neighbours.tenants.reviews.models import Review


def ask(review: Review) -> dict[str, Any]:
    message = {"role": "user", "content": f"Tag this review: {review.text}"}
    params = {"model": "claude-haiku-4-5", "max_tokens": 64, "messages": [message]}
    return {"custom_id": str(review.pk), "target": review, "params": params}


def tag_reviews() -> MessageBatch:
    """Draft and submit a batch in the current tenant's schema."""
    untagged = Review.objects.filter(tags="")
    if settings.OURS == "tenant":
        batch = MessageBatch.objects.create_draft(map(ask, untagged), kind="review-tags")
    else:
        requests = ({**ask(review), "target": None} for review in untagged)
        batch = MessageBatch.objects.create_draft(requests, kind="review-tags", label=connection.schema_name)
    return services.submit(batch)
