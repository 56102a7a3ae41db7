"""Answers that a pydantic model says how they must be."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from typing import Any

from django_claude_batches.output_schema.outcome import (
    MOST_PROBLEMS,
    NEEDED,
    BadSchema,
    InvalidOutput,
    Validated,
    joined,
)

MOST_ERRORS = 1000
"""Of one answer. An answer of 1 MB may have so many that listing them takes hundreds of MB."""

MOST_TRIES = 2**17
"""Of the parts of one answer, by a model whose union contains itself: about 2 seconds on a machine of 2026."""

PYTHON_RE = (
    "{} has patterns that are searched for with Python's re: some take hours for a short answer, and nothing can "
    "interrupt. Leave out regex_engine='python-re', and write patterns as text for pydantic's own, linear engine."
)

RECURSIVE_UNION = (
    "{} has a union of models that contain this union again: each level of an answer multiplies the time that checking "
    "takes, so answers with many levels are invalid output. Give the union a discriminator."
)


class ByModel:
    """Checks by a pydantic model, as strictly as the model's own configuration asks for."""

    def __init__(self, model: type[Any]) -> None:
        try:
            from pydantic import BaseModel, ValidationError  # noqa: PLC0415 (as in by_schema)
            from pydantic.errors import PydanticUserError  # noqa: PLC0415
        except ImportError as error:
            raise BadSchema(NEEDED.format("pydantic")) from error
        if not issubclass(model, BaseModel):
            raise BadSchema(f"output_schema must be a JSON Schema or a pydantic model, not the class {model.__name__}")
        try:
            self.schema: dict[str, Any] = model.model_json_schema()
        except PydanticUserError as error:
            raise BadSchema(f"{model.__name__} has no JSON Schema: {error.message}") from None
        core_schema = model.__pydantic_core_schema__
        if names := _coroutine_functions(core_schema):
            raise BadSchema(f"{model.__name__} has validators that are async def, which nothing awaits: {names}")
        self._choices = _recursive_choices(core_schema)
        found = {PYTHON_RE: _uses_re(core_schema), RECURSIVE_UNION: self._choices > 1}
        self.warnings = [words.format(model.__name__) for words, is_so in found.items() if is_so]
        self._model = model
        self._refusal = ValidationError

    def check(self, text: str, value: Any) -> Validated:
        if self._choices > 1 and _tries(value, self._choices) > MOST_TRIES:
            raise InvalidOutput("it has too many levels for a union that contains itself: that would take too long")
        try:
            # The text and not the value: read as JSON, a list may be a set and a text a date, however strict the model.
            parsed = self._model.model_validate_json(text)
        except self._refusal as error:
            if error.error_count() > MOST_ERRORS:  # each would be an object of its own
                raise InvalidOutput(f"it has {error.error_count():,} errors") from None
            problems = [f"{_path(found['loc'])}: {found['msg']}" for found in error.errors(include_url=False)]
            raise InvalidOutput(joined(problems[:MOST_PROBLEMS])) from None
        return Validated(parsed.model_dump(mode="json", by_alias=True), parsed)


def _schemas(core_schema: Any) -> Iterator[dict[str, Any]]:
    """Give all schemas of which a core schema of pydantic consists, without following its references."""
    waiting = [core_schema]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            yield found
            waiting += found.values()
        elif isinstance(found, list | tuple):
            waiting += found


def _coroutine_functions(core_schema: Any) -> str:
    """Return the names of the validators and serializers that are coroutine functions."""
    called = [schema["function"] for schema in _schemas(core_schema) if callable(schema.get("function"))]
    return ", ".join(sorted({each.__qualname__ for each in called if inspect.iscoroutinefunction(each)}))


def _uses_re(core_schema: Any) -> bool:
    """Whether a core schema names Python's engine, or has a pattern that `re` has compiled."""
    return any(
        schema.get("regex_engine") == "python-re" or isinstance(schema.get("pattern"), re.Pattern)
        for schema in _schemas(core_schema)
    )


def _recursive_choices(core_schema: Any) -> int:
    """Return how many choices of one union contain that union again; of several unions, the most.

    Pydantic tries each of them at each level of an answer. A union with a discriminator tries one.
    """
    named = {schema["ref"]: schema for schema in _schemas(core_schema) if "ref" in schema}
    unions = [schema for schema in _schemas(core_schema) if schema.get("type") == "union"]
    return max((sum(_contains(choice, union, named) for choice in union["choices"]) for union in unions), default=0)


def _contains(schema: Any, union: dict[str, Any], named: dict[str, Any]) -> bool:
    waiting, followed = [schema], set()
    while waiting:
        for found in _schemas(waiting.pop()):
            if found is union:
                return True
            ref = found.get("schema_ref")
            if ref in named and ref not in followed:
                followed.add(ref)
                waiting.append(named[ref])
    return False


def _tries(value: Any, choices: int) -> int:
    """Return how often parts of an answer are tried, where each level multiplies it; not exactly above MOST_TRIES.

    A level is an object, or an array in an array: a list of models is one level.
    """
    total, waiting = 0, [(value, 1)]
    while waiting and total <= MOST_TRIES:
        part, tries = waiting.pop()
        total += tries
        if isinstance(part, dict):
            waiting += ((inner, tries * choices) for inner in part.values())
        elif isinstance(part, list):
            waiting += ((inner, tries * (choices if isinstance(inner, list) else 1)) for inner in part)
    return total


def _path(location: Iterable[int | str]) -> str:
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
