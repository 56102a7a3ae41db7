"""Fetch the rows that handlers get: what the requests of a delivery are about."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models, router

from django_claude_batches.drafting.target import content_types_of
from django_claude_batches.job_registry import Job
from django_claude_batches.models import BatchRequest
from django_claude_batches.services.job_calls import sync_result

# A content type's primary key, and a row's as text.
TargetKey = tuple[int, str]
Targets = dict[TargetKey, models.Model]


def target_key(request: BatchRequest) -> TargetKey:
    return request.content_type_id or 0, request.object_id or ""


def targets_of(requests: Iterable[BatchRequest], job: Job, *, using: str) -> Targets:
    """Fetch the targets of requests from this database, in one query for each model.

    The job fetches those of its own model. Others, which requests that no run drafted may have, are read by their base
    manager from the database that they are written to.
    """
    content_types = content_types_of(using)
    wanted: dict[int, list[str]] = {}
    for request in requests:
        if request.content_type_id is not None and request.object_id is not None:
            wanted.setdefault(request.content_type_id, []).append(request.object_id)
    found: Targets = {}
    for content_type, pks in wanted.items():
        model = content_types.get_for_id(content_type).model_class()
        if model is not None:
            # Not by `row.pk`: a manager may return rows of a child model, which has a key of its own.
            key = model._meta.concrete_model._meta.pk.attname  # type: ignore[union-attr]
            found |= {(content_type, str(getattr(row, key))): row for row in _rows(model, pks, job)}
    return found


def _rows(model: type[models.Model], pks: list[str], job: Job) -> Iterator[models.Model]:
    concrete: Any = model._meta.concrete_model
    if job.row_model is None or job.row_model._meta.concrete_model is not concrete:
        yield from model._base_manager.using(router.db_for_write(model)).filter(pk__in=pks)
        return
    rows = job.get_targets([_key(concrete, pk) for pk in pks])
    for row in sync_result(job, "get_targets", rows):
        if not isinstance(row, concrete):
            name = f"{type(job).__name__}.get_targets()"
            raise TypeError(f"{name} must return rows of {concrete._meta.label}, not {row!r:.100}")
        yield row


def _key(model: type[models.Model], text: str) -> Any:
    """Return a primary key as its field has it; the text where the field reads none, such as one that encrypts."""
    try:
        return model._meta.pk.to_python(text)
    except (ValidationError, TypeError, ValueError):
        return text
