"""Check whether the primary keys of a job's rows fit into `BatchRequest`, from the model alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections, models

from django_claude_batches.drafting.request import MAX_OBJECT_ID


def problem_of(job: type[Any]) -> str | None:
    """Return a warning if rows may have a key that is too long; None if not, or if that is unknown without a query.

    Calls `get_queryset` and blocks its queries. Errors that it raises are ignored here; a dry run reports them.
    """
    try:
        with _without_databases():
            model = job().get_queryset().model
            field = model._meta.pk
            while field.is_relation:
                field = field.target_field
    except Exception:  # noqa: BLE001 (it is the project's code)
        return None
    if not isinstance(field, models.CharField | models.TextField):
        return None
    if field.max_length is not None and field.max_length <= MAX_OBJECT_ID:
        return None
    longest = "any number of" if field.max_length is None else f"up to {field.max_length}"
    return (
        f"returns rows of {model._meta.label}, whose primary key {model._meta.pk.name} may have {longest} characters: "
        f"a row whose key has more than {MAX_OBJECT_ID} cannot be asked."
    )


@contextmanager
def _without_databases() -> Iterator[None]:
    """Block connections and queries: `check` may run before the database exists, or while it is down.

    Connection objects are local to this thread. `execute_wrapper` is not enough: it is called after connecting.
    """
    found = connections.all()
    for connection in found:
        vars(connection)["ensure_connection"] = _refuse
    try:
        yield
    finally:
        for connection in found:
            vars(connection).pop("ensure_connection", None)


def _refuse(*_args: Any, **_kwargs: Any) -> None:
    raise RuntimeError("manage.py check does not query the database")
