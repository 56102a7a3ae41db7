from __future__ import annotations

from django.db import models

from django_claude_batches.models import BatchTargets


class Review(models.Model):
    product = models.CharField(max_length=100, blank=True)
    text = models.TextField()
    tags = models.TextField(blank=True)
    batches = BatchTargets()  # review.batch_results

    def __str__(self) -> str:
        return self.product or self.text[:60]
