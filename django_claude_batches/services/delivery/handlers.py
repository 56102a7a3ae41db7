"""Handing one request's result to its job, and keeping apart what the job's own code does wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.core.exceptions import ValidationError
from django.db import InterfaceError, OperationalError, models, router, transaction

from django_claude_batches import job_registry, sanitize
from django_claude_batches.drafting.target import content_types_of
from django_claude_batches.error_text import format_with_traceback
from django_claude_batches.models import BatchRequest, BatchResult, FailedDelivery
from django_claude_batches.services.job_calls import call, sync_result

# Characters kept of its end: the column would keep the beginning of a longer text.
MAX_TRACEBACK = sanitize.MAX_TEXT - 1_000

TRANSIENT_DATABASE_ERRORS = (OperationalError, InterfaceError)
"""The database is away, or two transactions stood in each other's way: it may go well the next time."""

TargetKey = tuple[int, str]
"""A content type's primary key, and a row's as text."""


class SwallowedDatabaseError(Exception):
    """The project's code caught a database error that had undone its transaction."""


def targets_of(requests: Iterable[BatchRequest], job: job_registry.Job, *, using: str) -> dict[TargetKey, models.Model]:
    """Fetch what requests of this database are about: a query for each model.

    The job fetches those of its own model. Others, which a request that no run drafted may be about, are read by their
    base manager from the database that they are written to.
    """
    content_types = content_types_of(using)
    wanted: dict[int, list[str]] = {}
    for request in requests:
        if request.content_type_id is not None and request.object_id is not None:
            wanted.setdefault(request.content_type_id, []).append(request.object_id)
    found: dict[TargetKey, models.Model] = {}
    for content_type, pks in wanted.items():
        model = content_types.get_for_id(content_type).model_class()
        if model is not None:
            # Not by `row.pk`: a manager may give rows of a child model, which has a key of its own.
            key = model._meta.concrete_model._meta.pk.attname  # type: ignore[union-attr]
            found |= {(content_type, str(getattr(row, key))): row for row in _rows(model, pks, job)}
    return found


def _rows(model: type[models.Model], pks: list[str], job: job_registry.Job) -> Iterator[models.Model]:
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


def result_of(request: BatchRequest) -> BatchResult | None:
    """Give the request's result; None where none came."""
    result: BatchResult | None = getattr(request, "result", None)
    return result


def missing_result(request: BatchRequest) -> BatchResult:
    """Give something to show a handler where no result came: a result that is in no table."""
    return BatchResult(
        batch=request.batch, request=request, custom_id=request.custom_id, result_type="missing", message=None
    )


def call_handler(job: job_registry.Job, handler: str, *args: Any, using: str) -> Exception | None:
    """Call the job's handler; give what it raised, with all undone that it wrote. What may pass is raised."""
    try:
        with transaction.atomic(using=using):
            call(job, handler, *args)
            if transaction.get_rollback(using):
                raise SwallowedDatabaseError(
                    "It caught a database error, and what it had written until then was undone with that: put the "
                    "statement that may fail into a transaction.atomic() of its own."
                )
    except TRANSIENT_DATABASE_ERRORS:
        raise
    except Exception as error:  # noqa: BLE001 (it is the project's code)
        return error
    return None


def failed_delivery(request: BatchRequest, outcome: str, error: Exception) -> FailedDelivery:
    """Give the row that shows a person what was raised."""
    return FailedDelivery(
        batch_id=request.batch_id,
        request=request,
        position=request.position,
        outcome=outcome,
        error=f"{type(error).__name__}: {error}",
        traceback=format_with_traceback(error, MAX_TRACEBACK),
    )


def replace_failed_deliveries(handed: Iterable[BatchRequest], rows: Iterable[FailedDelivery], *, using: str) -> None:
    """Write the parked ones of those that were handed out, in place of whatever was parked of them."""
    FailedDelivery.objects.using(using).filter(request__in=[request.pk for request in handed]).delete()
    FailedDelivery.objects.using(using).bulk_create(rows, batch_size=100)  # of 20 KB at most, each
