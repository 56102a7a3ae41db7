"""Find the content types and keys under which requests refer to one row of the project."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.fields.composite import CompositePrimaryKey

from django_claude_batches.drafting.target import content_types_of
from django_claude_batches.exceptions import InvalidRequest
from django_claude_batches.models import BatchRequest


@dataclass(frozen=True, slots=True)
class EraseTarget:
    """A row whose requests are searched for, with those about its parents and children of the same key.

    `models` is empty if the model was removed.
    """

    name: str
    models: frozenset[type[models.Model]]
    content_types: frozenset[int]
    keys: frozenset[str]


def find_target(content_type: ContentType, key: Any, *, name: str) -> EraseTarget:
    """Return what to search for, by a key as its model or a person writes it. Raise InvalidRequest if it is none."""
    model: Any = content_type.model_class()
    if model is None:
        return EraseTarget(name, frozenset(), frozenset({content_type.pk}), frozenset({str(key)}))
    same = _with_its_key(model._meta.concrete_model)
    content_types = content_types_of(BatchRequest.objects.primary().db).get_for_models(*same)
    # Drafting stored the key of the instance that it received: usually as read from the database, perhaps as assigned.
    keys = frozenset({str(key), str(key_of(model, key))})
    return EraseTarget(name, frozenset(same), frozenset(each.pk for each in content_types.values()), keys)


def key_of(model: type[models.Model], key: Any) -> Any:
    """Return a key as its field reads it: a UUID without dashes, or "01", is a valid way to write one."""
    field: Any = model._meta.pk
    is_composite = isinstance(field, CompositePrimaryKey)
    try:
        value = field.to_python(key)
        if is_composite:
            return tuple(part.to_python(each) for part, each in zip(field.fields, value, strict=True))
    except (ValidationError, ValueError, TypeError, OverflowError):
        how = ": write a composite one as JSON, such as [1, 2]" if is_composite else ""
        raise InvalidRequest(f"{key!r:.80} is not a key of {model._meta.label}{how}") from None
    return value


def _with_its_key(model: type[models.Model]) -> list[type[models.Model]]:
    """Return the model, and what it inherits from or inherits from it and has the same primary key."""
    found = [model]
    for each in found:  # grows during the loop
        for other in (*_parents(each), *_children(each)):
            if other not in found:
                found.append(other)
    return found


def _parents(model: Any) -> list[Any]:
    return [parent for parent, link in model._meta.parents.items() if link is not None and link is model._meta.pk]


def _children(model: Any) -> list[Any]:
    links = (each for each in model._meta.get_fields(include_hidden=True) if getattr(each, "parent_link", False))
    own = (link.related_model for link in links if link.auto_created and link.model is model)
    return [child for child in own if model in _parents(child)]
