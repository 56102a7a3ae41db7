from __future__ import annotations

from django.dispatch import receiver

from django_claude_batches.signals import results_ingested


@receiver(results_ingested)
def store_tags(sender, batch, **kwargs):
    if batch.kind != "review-tags":
        return
    for result in batch.results.succeeded().with_target().iterator(chunk_size=500):
        if result.target is not None:  # deleted meanwhile?
            result.target.tags = result.text
            result.target.save(update_fields=["tags"])
