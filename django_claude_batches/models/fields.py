from __future__ import annotations

from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper


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
