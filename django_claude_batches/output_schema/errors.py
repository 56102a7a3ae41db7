"""What comes of a schema or an answer: one that fits, or what is wrong with it, in few words."""

from __future__ import annotations

from typing import Any, NamedTuple

from django_claude_batches.sanitize import UNPRINTABLE

MAX_LENGTH = 500
"""Characters of what is said of a schema or an answer."""

MAX_PROBLEMS = 3
"""Faults of one answer that are said."""

MISSING_PACKAGE = 'output_schema needs {0}: python -m pip install "django-claude-batches[{0}]"'


class BadSchema(ValueError):
    """A schema that no answer can be checked by, or whose package is not installed; the text says what to do."""


class InvalidOutput(ValueError):
    """An answer that does not fit. The text says where and why, for a person as for the model that is asked again.

    It has at most 500 characters, in one line: of a longer one, the middle is left out, as a validator begins with the
    value and ends with what is wrong with it.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(short(UNPRINTABLE.sub("\ufffd", " ".join(reason.split()))))


class Validated(NamedTuple):
    """An answer that fits: as plain JSON, and as an instance of the pydantic model (without one, the same again)."""

    output: Any
    parsed: Any


def joined(problems: list[str]) -> str:
    """Say them in one line; each has an equal part of the room."""
    return "; ".join(short(problem, MAX_LENGTH // len(problems) - 2) for problem in problems)


def short(text: str, longest: int = MAX_LENGTH) -> str:
    """Leave out the middle of what is too long."""
    if len(text) <= longest:
        return text
    half = (longest - 3) // 2
    return f"{text[:half]} … {text[-half:]}"
