"""Check how a job is declared: what kinds of functions its methods are, and whether its rows' keys fit."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial, partialmethod
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.db import connections, models

from django_claude_batches.drafting.target import MAX_OBJECT_ID

# Methods that may be coroutine functions.
HANDLERS = ("on_result", "on_failure", "on_finished")

# Methods that may be generator functions: what they return is iterated over.
ITERABLES = ("get_betas", "get_targets")

OTHERS = ("get_queryset", "get_prompt", "get_params", "make_params", "read_output", "more_tokens")


def method_problems(job: type) -> list[str]:
    """Return what is wrong with the job's methods, as sentences. None of them is called."""
    return [
        f"{job.__name__}.{name}() is {problem}"
        for name in (*HANDLERS, *ITERABLES, *OTHERS)
        if (problem := _problem(name, _function(inspect.getattr_static(job, name, None))))
    ]


def _problem(name: str, function: Any) -> str:
    # An object is called by its class's method.
    either = (function, getattr(type(function), "__call__", None))  # noqa: B004 (an object's own does not count)
    if any(map(inspect.isasyncgenfunction, either)):
        return "an async generator function: its body would never run. Remove the yield."
    if any(map(iscoroutinefunction, either)) and name not in HANDLERS:
        return f"a coroutine function: of a job's methods, only {', '.join(HANDLERS)} may be async def."
    if any(map(inspect.isgeneratorfunction, either)) and name not in ITERABLES:
        return "a generator function: its body would never run. Remove the yield."
    return ""


def _function(found: Any) -> Any:
    """Return what a method calls. A decorator's wrapper counts as it is: it may await what it wraps."""
    if isinstance(found, staticmethod | classmethod):
        return _function(found.__func__)
    if isinstance(found, partial | partialmethod):
        return _function(found.func)
    return found


def key_problem(job: type[Any]) -> str | None:
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
