from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from django_claude_batches import storable


class IdentifierField(models.CharField):  # type: ignore[type-arg]
    """Text that is compared and sorted byte by byte on every database.

    MySQL and MariaDB compare text without regard to case unless told otherwise: `a` and `A` would be one custom_id.
    PostgreSQL sorts by the rules of a language, and an index in that order does not find what begins with something.
    A plain `db_collation` would name a collation that the other databases do not have.
    """

    COLLATIONS = {"mysql": "utf8mb4_bin", "postgresql": "C"}

    def db_parameters(self, connection: BaseDatabaseWrapper) -> dict[str, Any]:
        parameters = super().db_parameters(connection)
        if collation := self.COLLATIONS.get(connection.vendor):
            parameters["collation"] = collation
        return parameters


class Storable:
    """A column for what comes from outside, which is made storable as it is written.

    So no value of the wire makes a statement fail that carries others. In migrations it is what it is to a database.
    """

    def get_db_prep_save(self, value: Any, connection: BaseDatabaseWrapper) -> Any:
        return super().get_db_prep_save(self.storable(value), connection)  # type: ignore[misc]

    def storable(self, value: Any) -> Any:
        """Return what is written for `value`, which may also be an expression."""
        raise NotImplementedError

    def deconstruct(self) -> tuple[str, str, Sequence[Any], dict[str, Any]]:
        name, _path, args, options = super().deconstruct()  # type: ignore[misc]
        return name, f"django.db.models.{self.get_internal_type()}", args, options  # type: ignore[attr-defined]


class StorableCharField(Storable, models.CharField):  # type: ignore[type-arg]
    """Text, cut to the column."""

    def storable(self, value: Any) -> Any:
        return storable.text(value, self.max_length) if isinstance(value, str) else value


class StorableTextField(Storable, models.TextField):  # type: ignore[type-arg]
    """Text for people, an error or a line of a timeline: its first 10,000 characters."""

    def storable(self, value: Any) -> Any:
        return storable.text(value, storable.MAX_TEXT) if isinstance(value, str) else value


class StorableJSONField(Storable, models.JSONField):
    """JSON that quotes the wire: PostgreSQL refuses NUL and half characters in it, too."""

    def storable(self, value: Any) -> Any:
        return storable.Cleaner().clean(value)


class StorableDateTimeField(Storable, models.DateTimeField):  # type: ignore[type-arg]
    """A time; none where no database could hold it."""

    def storable(self, value: Any) -> Any:
        return storable.moment(value) if isinstance(value, datetime) else value
