"""Answers that a pydantic model says how they must be."""

from __future__ import annotations

import re
from collections.abc import Iterable
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

PYTHON_RE = (
    "{} has patterns that are searched for with Python's re: some take hours for a short answer, and nothing can "
    "interrupt. Leave out regex_engine='python-re', and write patterns as text for pydantic's own, linear engine."
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
        self.warnings = [PYTHON_RE.format(model.__name__)] if _uses_re(model.__pydantic_core_schema__) else []
        self._model = model
        self._refusal = ValidationError

    def check(self, text: str, value: Any) -> Validated:
        try:
            # The text and not the value: read as JSON, a list may be a set and a text a date, however strict the model.
            parsed = self._model.model_validate_json(text)
        except self._refusal as error:
            if error.error_count() > MOST_ERRORS:  # each would be an object of its own
                raise InvalidOutput(f"it has {error.error_count():,} errors") from None
            problems = [f"{_path(found['loc'])}: {found['msg']}" for found in error.errors(include_url=False)]
            raise InvalidOutput(joined(problems[:MOST_PROBLEMS])) from None
        return Validated(parsed.model_dump(mode="json", by_alias=True), parsed)


def _uses_re(core_schema: Any) -> bool:
    """Whether a core schema of pydantic names Python's engine, or has a pattern that `re` has compiled."""
    if isinstance(core_schema, dict):
        if core_schema.get("regex_engine") == "python-re" or isinstance(core_schema.get("pattern"), re.Pattern):
            return True
        return any(map(_uses_re, core_schema.values()))
    return isinstance(core_schema, list | tuple) and any(map(_uses_re, core_schema))


def _path(location: Iterable[int | str]) -> str:
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
