"""What the address of a list may ask the database: a comparison with a hidden text is an answer about it."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db import models
from django.db.models.constants import LOOKUP_SEP

LOOKUPS = frozenset({"", "exact", "in", "isnull", "gt", "gte", "lt", "lte", "range"})
DATE_PARTS = frozenset({"year", "month", "day"})

LONG = (models.TextField, models.JSONField, models.BinaryField)
"""What holds bodies and errors."""


def split_lookup(model: type[models.Model], lookup: str) -> tuple[str, str]:
    """Return the path of columns that a lookup begins with, and how it compares; no path where it names no column."""
    names = lookup.split(LOOKUP_SEP)
    known = len(_columns(model, names))
    return LOOKUP_SEP.join(names[:known]), LOOKUP_SEP.join(names[known:])


def is_long_text(model: type[models.Model], path: str) -> bool:
    """Whether the path leads to a column of bodies or errors."""
    return any(isinstance(column, LONG) for column in _columns(model, path.split(LOOKUP_SEP)))


def without_key(model: type[models.Model], path: str) -> str:
    """Return the path to a row by its key as the path to the row, which is what filters of a relation are named by."""
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
