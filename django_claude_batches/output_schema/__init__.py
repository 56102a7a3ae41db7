"""Structured output: request it with a JSON Schema or a pydantic model, and validate the answers."""

from __future__ import annotations

from django_claude_batches.output_schema.errors import BadSchema, InvalidOutput, Validated
from django_claude_batches.output_schema.schema import OutputSchema
from django_claude_batches.output_schema.wire_schema import has_structured_output

__all__ = ["BadSchema", "InvalidOutput", "OutputSchema", "Validated", "has_structured_output"]
