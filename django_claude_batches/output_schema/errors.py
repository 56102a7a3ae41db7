"""The errors of schemas and of answers that do not fit one, and the result of one that fits."""

from __future__ import annotations

from typing import Any, NamedTuple

from django_claude_batches.sanitize import UNPRINTABLE

# Maximum characters of an error text.
MAX_LENGTH = 500

# Maximum problems of one answer that are named.
MAX_PROBLEMS = 3

MISSING_PACKAGE = 'output_schema needs {0}: python -m pip install "django-claude-batches[{0}]"'


class BadSchema(ValueError):
    """A schema by which no answer can be validated, or whose package is not installed; the text says what to do."""


class InvalidOutput(ValueError):
    """An answer that does not fit. The text says where and why, for a person and for the model on a retry.

    It is one line of at most 500 characters. The middle of a longer one is left out, because validators begin with the
    value and end with what is wrong with it.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(short(UNPRINTABLE.sub("\ufffd", " ".join(reason.split()))))


class Validated(NamedTuple):
    """A valid answer: as plain JSON, and as an instance of the pydantic model (without one, the same JSON)."""

    output: Any
    parsed: Any


def joined(problems: list[str]) -> str:
    """Join the problems to one line; each gets an equal part of the length."""
    return "; ".join(short(problem, MAX_LENGTH // len(problems) - 2) for problem in problems)


def short(text: str, longest: int = MAX_LENGTH) -> str:
    """Leave out the middle of a text that is too long."""
    if len(text) <= longest:
        return text
    half = (longest - 3) // 2
    return f"{text[:half]} … {text[-half:]}"
