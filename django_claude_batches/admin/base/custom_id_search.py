"""Find a custom_id among millions of rows. The indexes begin with the batch, so each batch is one lookup."""

from __future__ import annotations

from typing import Any

from django.db.models import OuterRef, Q, Subquery

from django_claude_batches import wire
from django_claude_batches.models import BatchRequest, BatchResult

# Rows that are found for one custom_id: those of the newest batches. Generated custom_ids repeat: each batch has a "0".
MOST_FOUND = 1_000


def has_custom_id(model: type[BatchRequest | BatchResult], custom_id: str) -> Q:
    """Match the batches in which a row of the model has this custom_id."""
    if not wire.CUSTOM_ID_PATTERN.fullmatch(custom_id):
        return Q(pk__in=[])
    return Q(pk=Subquery(_in_batch(model, custom_id).values("batch_id")[:1]))


def with_custom_id(model: type[BatchRequest | BatchResult], custom_id: str, batches: Any) -> list[int]:
    """Return the primary keys of the model's rows in these batches that have this custom_id; one query."""
    if not wire.CUSTOM_ID_PATTERN.fullmatch(custom_id):
        return []
    batches = batches.annotate(found=Subquery(_in_batch(model, custom_id).values("pk")[:1]))
    found = batches.exclude(found=None).order_by("-pk").values_list("found", flat=True)
    return list(found[:MOST_FOUND])


def _in_batch(model: type[BatchRequest | BatchResult], custom_id: str) -> Any:
    """Return a queryset of the row in the outer query's batch, to be used as a scalar subquery.

    With a join or an EXISTS the database may read the whole table instead: at a million rows, PostgreSQL estimates that
    both cost about the same.
    """
    rows: Any = model._default_manager.all()
    return rows.primary().filter(batch=OuterRef("pk"), custom_id=custom_id).order_by()
