"""`OutputSchema`: request answers that fit a schema, and validate them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django_claude_batches.output_schema.errors import InvalidOutput, Validated
from django_claude_batches.output_schema.json_text import decoded, unfenced
from django_claude_batches.output_schema.jsonschema_validator import JsonSchemaChecker
from django_claude_batches.output_schema.pydantic_validator import PydanticChecker
from django_claude_batches.output_schema.wire_schema import has_structured_output, to_wire_schema

INSTRUCTION = "Answer with JSON only, nothing before it or behind it, that fits this JSON Schema:\n"


class OutputSchema:
    """The schema of a job's answers. Raise BadSchema if it is invalid or its package is not installed.

    `wire` is the schema that is sent as `output_config.format.schema`; None if Anthropic's subset of JSON Schema cannot
    express it. `wire` may allow more than the schema itself, which validates the answers. `instruction` is sent to
    models without structured output. `warnings` are texts about what should be changed, although answers can be
    validated.
    """

    def __init__(self, schema: Mapping[str, Any] | type[Any]) -> None:
        self._checker: PydanticChecker | JsonSchemaChecker
        self._checker = PydanticChecker(schema) if isinstance(schema, type) else JsonSchemaChecker(schema)
        self.wire = to_wire_schema(self._checker.schema)
        self.warnings = self._checker.warnings
        self.instruction = INSTRUCTION + json.dumps(self._checker.schema, ensure_ascii=False)

    def added_to(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the body of a Messages call with a request for the schema. A body with its own format is unchanged.

        If possible, `output_config.format` constrains the model to the schema. Otherwise an instruction is appended to
        `system`, after its content, which may be cached.
        """
        config = params.get("output_config")
        if config is not None and not (isinstance(config, Mapping) and config.get("format") is None):
            return dict(params)
        if self.wire is None or not has_structured_output(str(params.get("model"))):
            return {**params, "system": _append_instruction(params.get("system"), self.instruction)}
        asked = {"type": "json_schema", "schema": self.wire}
        return {**params, "output_config": {**(config or {}), "format": asked}}

    def read(self, text: str) -> Validated:
        """Validate an answer, which may have white space or a ```json fence around it.

        Raise InvalidOutput if it does not fit. Errors of a pydantic model's validators other than ValueError and
        AssertionError are bugs of the model, and are not caught.
        """
        body = unfenced(text)
        try:
            return self._checker.check(body, decoded(body))
        except RecursionError:
            raise InvalidOutput("nested too deeply") from None


def _append_instruction(system: Any, instruction: str) -> Any:
    """Return `system`, a text or a list of blocks, with the instruction appended."""
    if isinstance(system, list | tuple):
        return [*system, {"type": "text", "text": instruction}]
    return f"{system}\n\n{instruction}" if system else instruction
