"""The job whose workers are killed; each row counts the effects of its answer."""

from __future__ import annotations

from typing import Any

from django.db.models import F

from django_claude_batches.jobs import BatchJob
from tests.harness.library.models import Book, Review

JOB = "count-effects"


class CountEffects(BatchJob):
    name = JOB
    claude_model = "claude-haiku-4-5"
    max_tokens = 200

    def get_queryset(self) -> Any:
        return Review.objects.filter(effects=0)

    def get_prompt(self, review: Review) -> str:
        return review.text

    def on_result(self, review: Review, result: Any) -> None:
        Review.objects.filter(pk=review.pk).update(tags=result.text, effects=F("effects") + 1)

    def on_finished(self, run: Any) -> None:
        Book.objects.create(title=f"Run {run.pk} is over")
