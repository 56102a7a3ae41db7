"""Model fields for identifiers that are compared byte by byte, and for values from outside that are sanitized."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from django_claude_batches import sanitize


class Bytewise:
    """Text that is compared and sorted byte by byte on every database.

    By default, MySQL and MariaDB ignore case, accents and trailing spaces in comparisons: `a`, `A` and `á` would be one
    key. PostgreSQL sorts by the rules of a language, and an index in that order does not serve prefix searches.
    `db_collation` cannot be used: it names one collation, which the other databases do not have.

    `icontains` and similar lookups are case-sensitive on MySQL and MariaDB.
    """

    def db_parameters(self, connection: BaseDatabaseWrapper) -> dict[str, Any]:
        parameters: dict[str, Any] = super().db_parameters(connection)  # type: ignore[misc]
        if collation := _bytewise_collation(connection):
            parameters["collation"] = collation
        return parameters


def _bytewise_collation(connection: Any) -> str:
    if connection.vendor == "postgresql":
        return "C"
    if connection.vendor != "mysql":
        return ""
    if connection.mysql_is_mariadb:
        return "utf8mb4_nopad_bin"
    return "utf8mb4_0900_bin" if connection.mysql_version >= (8, 0, 17) else "utf8mb4_bin"


class IdentifierField(Bytewise, models.CharField):  # type: ignore[type-arg]
    """An id, a key, or a name by which rows are found."""


class IdentifierSlugField(Bytewise, models.SlugField):  # type: ignore[type-arg]
    """A name by which code finds rows."""


class Storable:
    """A column for values from outside, which are sanitized when they are written.

    A value that the database refuses would make the whole statement fail, with all other values in it. Migrations see
    Django's own field.
    """

    def get_db_prep_save(self, value: Any, connection: BaseDatabaseWrapper) -> Any:
        return super().get_db_prep_save(self.storable(value), connection)  # type: ignore[misc]

    def storable(self, value: Any) -> Any:
        """Return the value to write instead of `value`, which may also be an expression."""
        raise NotImplementedError

    def deconstruct(self) -> tuple[str, str, Sequence[Any], dict[str, Any]]:
        name, _path, args, options = super().deconstruct()  # type: ignore[misc]
        return name, f"django.db.models.{self.get_internal_type()}", args, options  # type: ignore[attr-defined]


class StorableCharField(Storable, models.CharField):  # type: ignore[type-arg]
    """Text, cut to the column's length."""

    def storable(self, value: Any) -> Any:
        return sanitize.text(value, self.max_length) if isinstance(value, str) else value


class StorableTextField(Storable, models.TextField):  # type: ignore[type-arg]
    """Text for people, such as an error or a line of a timeline, cut to 10,000 characters."""

    def storable(self, value: Any) -> Any:
        return sanitize.text(value, sanitize.MAX_TEXT) if isinstance(value, str) else value


class StorableJSONField(Storable, models.JSONField):
    """JSON with values from the API. PostgreSQL refuses NUL and lone surrogates, so they are replaced."""

    def storable(self, value: Any) -> Any:
        return sanitize.Cleaner().clean(value)


class StorableDateTimeField(Storable, models.DateTimeField):  # type: ignore[type-arg]
    """A time. None is stored if some database cannot store it."""

    def storable(self, value: Any) -> Any:
        return sanitize.moment(value) if isinstance(value, datetime) else value
