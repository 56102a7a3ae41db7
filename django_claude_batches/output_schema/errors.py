"""The errors for invalid schemas and for answers that do not fit a schema, and the result for a valid answer."""

from __future__ import annotations

from typing import Any, NamedTuple

from django_claude_batches.sanitize import UNPRINTABLE

# Maximum characters of an error text.
MAX_LENGTH = 500

# Maximum number of problems that the error of an answer names.
MAX_PROBLEMS = 3

MISSING_PACKAGE = 'output_schema needs {0}: python -m pip install "django-claude-batches[{0}]"'


class BadSchema(ValueError):
    """The schema cannot validate answers, or its package is not installed. The text says what to do."""


class InvalidOutput(ValueError):
    """An answer does not fit the schema. The text says where and why, for a person and for the model on a retry.

    The text is one line of at most 500 characters. The middle of a longer text is left out, because messages of
    validators begin with the value and end with the problem.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(short(UNPRINTABLE.sub("\ufffd", " ".join(reason.split()))))


class Validated(NamedTuple):
    """A valid answer: as plain JSON, and as an instance of the pydantic model (for a JSON Schema, the same JSON)."""

    output: Any
    parsed: Any


def joined(problems: list[str]) -> str:
    """Join the problems to one line. Each problem may have an equal part of the length."""
    return "; ".join(short(problem, MAX_LENGTH // len(problems) - 2) for problem in problems)


def short(text: str, longest: int = MAX_LENGTH) -> str:
    """Leave out the middle of a text that is too long."""
    if len(text) <= longest:
        return text
    half = (longest - 3) // 2
    return f"{text[:half]} … {text[-half:]}"
