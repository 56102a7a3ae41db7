from __future__ import annotations

from django_claude_batches.jobs import BatchJob

from .models import Review


class TagReviews(BatchJob):
    claude_model = "claude-haiku-4-5"
    max_tokens = 200
    output_schema = {
        "type": "object",
        "properties": {"tags": {"type": "array", "items": {"type": "string"}, "minItems": 1}},
        "required": ["tags"],
    }

    def get_queryset(self):
        return Review.objects.filter(tags="")

    def get_prompt(self, review):  # or get_params(self, review) for the whole body
        return f"Tag this review:\n{review.text}"

    def on_result(self, review, result):  # result.output fits the schema
        review.tags = ", ".join(result.output["tags"])
        review.save(update_fields=["tags"])
