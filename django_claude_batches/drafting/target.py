"""The row that a request is about, as a content type and a key."""

from __future__ import annotations

from typing import Any

from django.contrib.contenttypes.models import ContentType, ContentTypeManager
from django.db import models, router

from django_claude_batches.exceptions import InvalidRequest

MAX_OBJECT_ID = 64

WRONG_DATABASE = (
    "target {label} {pk} was read from the database {read!r}, and what is asked about it belongs to the row of the "
    "same key in {written!r}: read it from there, or say rows_are_replicas = True where both are the same row"
)


def content_types_of(using: str) -> ContentTypeManager:
    """Return the content types of the database that stores the package's rows: their ids differ between databases."""
    return ContentType.objects.db_manager(using)


def resolve_target(
    target: Any, content_types: ContentTypeManager, *, rows_are_replicas: bool = False
) -> tuple[int | None, str | None]:
    """Return the target's content type and primary key as text; one query for each model, then none.

    Raise InvalidRequest for a row of another database than the one in which its key is looked up again, unless the
    caller says that the rows are replicas.
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
