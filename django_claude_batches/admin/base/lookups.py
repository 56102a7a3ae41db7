"""The lookups that the query string of a list may use. Comparisons with a hidden text would reveal that text."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db import models
from django.db.models.constants import LOOKUP_SEP

LOOKUPS = frozenset({"", "exact", "in", "isnull", "gt", "gte", "lt", "lte", "range"})
DATE_PARTS = frozenset({"year", "month", "day"})

# Types of the columns that contain bodies and errors.
LONG = (models.TextField, models.JSONField, models.BinaryField)


def split_lookup(model: type[models.Model], lookup: str) -> tuple[str, str]:
    """Split a lookup into its path of columns and its comparison; the path is empty if it names no column."""
    names = lookup.split(LOOKUP_SEP)
    known = len(_columns(model, names))
    return LOOKUP_SEP.join(names[:known]), LOOKUP_SEP.join(names[known:])


def is_long_text(model: type[models.Model], path: str) -> bool:
    """Return whether the path leads to a column of bodies or errors."""
    return any(isinstance(column, LONG) for column in _columns(model, path.split(LOOKUP_SEP)))


def without_key(model: type[models.Model], path: str) -> str:
    """Return the path without a primary key at its end: filters of a relation are named `run`, lookups `run__id`."""
    last = _columns(model, path.split(LOOKUP_SEP))[-1]
    return path.rpartition(LOOKUP_SEP)[0] if getattr(last, "primary_key", False) else path


def _columns(model: Any, names: list[str]) -> list[Any]:
    found: list[Any] = []
    for name in names:
        if model is None:
            break
        try:
            column = model._meta.pk if name == "pk" else model._meta.get_field(name)
        except FieldDoesNotExist:
            break
        found.append(column)
        model = column.related_model if column.is_relation else None
    return found
