"""Store the row that a request is about as a content type and a primary key."""

from __future__ import annotations

from typing import Any

from django.contrib.contenttypes.models import ContentType, ContentTypeManager
from django.db import models, router

from django_claude_batches.exceptions import InvalidRequest

MAX_OBJECT_ID = 64

WRONG_DATABASE = (
    "target {label} {pk} was read from the database {read!r}, but results belong to the row of the same key in "
    "{written!r}: read it from there, or set rows_are_replicas = True if both are the same row"
)


def content_types_of(using: str) -> ContentTypeManager:
    """Return the content types of the database that stores the package's rows: ids differ between databases."""
    return ContentType.objects.db_manager(using)


def resolve_target(
    target: Any, content_types: ContentTypeManager, *, rows_are_replicas: bool = False
) -> tuple[int | None, str | None]:
    """Return the id of the target's content type, and its primary key as text. One query for each model.

    Raise InvalidRequest unless the target is a saved instance, and for a row that was read from another database than
    its model is written to, unless `rows_are_replicas`.
    """
    if target is None:
        return None, None
    if not isinstance(target, models.Model) or target.pk is None:
        raise InvalidRequest(f"target must be a saved model instance, not {type(target).__name__}")
    if len(str(target.pk)) > MAX_OBJECT_ID:
        raise InvalidRequest(f"target's primary key has more than {MAX_OBJECT_ID} characters")
    if not rows_are_replicas:
        read, written = router.db_for_write(type(target), instance=target), router.db_for_write(type(target))
        if read != written:
            where = {"label": target._meta.label, "pk": target.pk, "read": read, "written": written}
            raise InvalidRequest(WRONG_DATABASE.format(**where))
    return content_types.get_for_model(target).pk, str(target.pk)
