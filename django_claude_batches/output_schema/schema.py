"""A schema, asked for and checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

from django_claude_batches.output_schema.errors import InvalidOutput, Validated
from django_claude_batches.output_schema.json_text import decoded, unfenced
from django_claude_batches.output_schema.jsonschema_validator import JsonSchemaChecker
from django_claude_batches.output_schema.pydantic_validator import PydanticChecker
from django_claude_batches.output_schema.wire_schema import has_structured_output, to_wire_schema

INSTRUCTION = "Answer with JSON only, nothing before it or behind it, that fits this JSON Schema:\n"


class Checker(Protocol):
    schema: dict[str, Any]
    warnings: list[str]

    def check(self, text: str, value: Any) -> Validated: ...


class OutputSchema:
    """The schema of a job's answers. Raise BadSchema for one that is none, or where its package is missing."""

    def __init__(self, schema: Mapping[str, Any] | type[Any]) -> None:
        self._checker: Checker = PydanticChecker(schema) if isinstance(schema, type) else JsonSchemaChecker(schema)
        self._wire = to_wire_schema(self._checker.schema)
        self._instruction = INSTRUCTION + json.dumps(self._checker.schema, ensure_ascii=False)

    @property
    def wire(self) -> dict[str, Any] | None:
        """What is sent as `output_config.format.schema`; None where Anthropic's subset has no words for the schema.

        It allows more than the schema itself, by which the answers are checked.
        """
        return self._wire

    @property
    def warnings(self) -> list[str]:
        """What a person should change, though answers can be checked by it."""
        return self._checker.warnings

    @property
    def instruction(self) -> str:
        """What a model is told that has no structured output."""
        return self._instruction

    def added_to(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Give the body of a Messages call with the schema asked for; one that asks for a format already stays so.

        The model is constrained to the schema where it can be (`output_config.format`); else it is told at the end of
        `system`, behind whatever is cached there.
        """
        config = params.get("output_config")
        if config is not None and not (isinstance(config, Mapping) and config.get("format") is None):
            return dict(params)
        if self._wire is None or not has_structured_output(str(params.get("model"))):
            return {**params, "system": _append_instruction(params.get("system"), self.instruction)}
        asked = {"type": "json_schema", "schema": self._wire}
        return {**params, "output_config": {**(config or {}), "format": asked}}

    def read(self, text: str) -> Validated:
        """Read an answer, with space or one ```json fence around it or not; raise InvalidOutput where it does not fit.

        What a validator of a pydantic model raises beside ValueError and AssertionError is its own fault, and passes.
        """
        body = unfenced(text)
        try:
            return self._checker.check(body, decoded(body))
        except RecursionError:
            raise InvalidOutput("nested too deeply") from None


def _append_instruction(system: Any, instruction: str) -> Any:
    """Give `system`, a text or a list of blocks, with the instruction behind it."""
    if isinstance(system, list | tuple):
        return [*system, {"type": "text", "text": instruction}]
    return f"{system}\n\n{instruction}" if system else instruction
