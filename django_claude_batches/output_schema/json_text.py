"""Decode an answer's text as strict JSON."""

from __future__ import annotations

import json
import math
from typing import Any

from django_claude_batches.output_schema.errors import InvalidOutput
from django_claude_batches.strict_json import members

FENCE = "```"


def unfenced(text: str) -> str:
    """Return the text without a Markdown fence around it, which models without structured output add."""
    text = text.strip()
    if text.startswith(FENCE) and text.endswith(FENCE) and len(text) > 2 * len(FENCE):
        language, _newline, body = text[len(FENCE) : -len(FENCE)].partition("\n")
        if language.strip().lower() in ("", "json"):
            return body.strip()
    return text


def decoded(text: str) -> Any:
    """Decode strict JSON. Raise InvalidOutput for invalid JSON, repeated keys, NaN and infinite numbers."""
    if not text:
        raise InvalidOutput("not JSON: there is no text")
    try:
        return json.loads(text, object_pairs_hook=members, parse_float=_finite, parse_constant=_finite)
    except json.JSONDecodeError as error:
        raise InvalidOutput(f"not JSON: {error.msg} at character {error.pos + 1}") from None
    except InvalidOutput:
        raise
    except ValueError as error:  # a repeated key, or more digits than Python reads
        raise InvalidOutput(f"not JSON that can be read: {error}") from None


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise InvalidOutput(f"{number:.80} is not a number that JSON can represent")
    return value
