from __future__ import annotations

from django_claude_batches import services
from django_claude_batches.models import MessageBatch

from .models import Review


def ask(review):
    return {
        "custom_id": str(review.pk),
        "target": review,
        "params": {
            "model": "claude-haiku-4-5",
            "max_tokens": 64,
            "messages": [{"role": "user", "content": f"Tag this review: {review.text}"}],
        },
    }


def tag_reviews():
    untagged = Review.objects.filter(tags="")
    batch = MessageBatch.objects.create_draft(map(ask, untagged.iterator()), kind="review-tags", label="Tags, nightly")
    return services.submit(batch)  # queued; a worker sends it
