"""Validate answers with a pydantic model."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from asgiref.sync import iscoroutinefunction

from django_claude_batches.output_schema.errors import (
    MAX_PROBLEMS,
    MISSING_PACKAGE,
    BadSchema,
    InvalidOutput,
    Validated,
    joined,
)
from django_claude_batches.output_schema.pydantic_bounds import TryCounter, schemas

# Maximum errors that are listed. An answer of 1 MB may have so many that listing them takes hundreds of MB.
MAX_ERRORS = 1000

PYTHON_RE = (
    "{} has patterns that are searched for with Python's re: some take hours for a short answer and cannot be "
    "interrupted. Remove regex_engine='python-re' and write patterns as text, for pydantic's own engine, which takes "
    "linear time."
)

RECURSIVE_UNION = (
    "{} has a union of models that contain this union again: each level of an answer multiplies the time that checking "
    "takes, so answers with many levels are invalid output. Give the union a discriminator."
)


class PydanticChecker:
    """Validate answers with a pydantic model, as strictly as its configuration requires.

    Raise BadSchema if the model cannot be used or pydantic is not installed.
    """

    def __init__(self, model: type[Any]) -> None:
        try:
            from pydantic import BaseModel, ValidationError  # noqa: PLC0415 (as in jsonschema_validator)
            from pydantic.errors import PydanticUserError  # noqa: PLC0415
        except ImportError as error:
            raise BadSchema(MISSING_PACKAGE.format("pydantic")) from error
        if not issubclass(model, BaseModel):
            raise BadSchema(f"output_schema must be a JSON Schema or a pydantic model, not the class {model.__name__}")
        try:
            self.schema: dict[str, Any] = model.model_json_schema()
        except PydanticUserError as error:
            raise BadSchema(f"{model.__name__} has no JSON Schema: {error.message}") from None
        core_schema: Any = model.__pydantic_core_schema__
        if names := _coroutine_functions(core_schema):
            raise BadSchema(f"{model.__name__} has validators that are async def, which nothing awaits: {names}")
        tries = TryCounter(core_schema)
        self._tries = tries if tries.multiply() else None
        found = {PYTHON_RE: _uses_re(core_schema), RECURSIVE_UNION: self._tries is not None}
        self.warnings = [words.format(model.__name__) for words, is_so in found.items() if is_so]
        self._model = model
        self._refusal = ValidationError

    def check(self, text: str, value: Any) -> Validated:
        if self._tries is not None and self._tries.are_too_many(value):
            raise InvalidOutput("it has too many levels for a union that contains itself: that would take too long")
        try:
            # Validate the text, not the value: in JSON mode a list may be a set and a text a date, even in strict mode.
            parsed = self._model.model_validate_json(text)
        except self._refusal as error:
            if error.error_count() > MAX_ERRORS:  # listing them takes too much memory
                raise InvalidOutput(f"it has {error.error_count():,} errors") from None
            problems = [f"{_path(found['loc'])}: {found['msg']}" for found in error.errors(include_url=False)]
            raise InvalidOutput(joined(problems[:MAX_PROBLEMS])) from None
        return Validated(parsed.model_dump(mode="json", by_alias=True), parsed)


def _coroutine_functions(core_schema: Any) -> str:
    """Return the names of the validators and serializers that are coroutine functions."""
    called = [schema["function"] for schema in schemas(core_schema) if callable(schema.get("function"))]
    found = [each for each in called if iscoroutinefunction(each) or iscoroutinefunction(type(each).__call__)]
    return ", ".join(sorted({getattr(each, "__qualname__", repr(each)) for each in found}))


def _uses_re(core_schema: Any) -> bool:
    """Return whether a core schema names Python's regex engine, or has a pattern compiled by `re`."""
    return any(
        schema.get("regex_engine") == "python-re" or isinstance(schema.get("pattern"), re.Pattern)
        for schema in schemas(core_schema)
    )


def _path(location: Iterable[int | str]) -> str:
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
