"""What kinds of functions the methods of a job may be: one that only makes a coroutine or a generator does nothing."""

from __future__ import annotations

import inspect
from functools import partial, partialmethod
from typing import Any

from asgiref.sync import iscoroutinefunction

HANDLERS = ("on_result", "on_failure", "on_finished")
"""They may be coroutine functions."""

ITERABLES = ("get_betas", "get_targets")
"""They may be generator functions: what they give is iterated over."""

OTHERS = ("get_queryset", "get_prompt", "get_params", "make_params", "read_output", "more_tokens")


def problems_of(job: type) -> list[str]:
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
