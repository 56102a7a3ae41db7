from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from django.conf import settings
from django.dispatch import receiver
from django_tenants.utils import schema_context

from django_claude_batches.models import MessageBatch
from django_claude_batches.signals import results_ingested
from tests.neighbours.tenants.reviews.models import Review


@receiver(results_ingested)
def store_tags(sender: type[MessageBatch], batch: MessageBatch, **kwargs: Any) -> None:
    where = nullcontext() if settings.OURS == "tenant" else schema_context(batch.label)
    with where:
        for result in batch.results.succeeded().iterator(chunk_size=500):
            Review.objects.filter(pk=result.custom_id).update(tags=result.text)
