"""Parse result lines; a bad line does not stop the others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager

from django_claude_batches.client.jsonl import Line
from django_claude_batches.client.response_models import result_line
from django_claude_batches.exceptions import UnreadableLines
from django_claude_batches.wire import ResultLine

# Unreadable lines that are listed; the others are counted.
MAX_PROBLEMS = 100


def parsed(opened: AbstractContextManager[Iterator[Line]], *, name: str) -> Iterator[ResultLine]:
    """Yield each line as an object; after the last one raise `UnreadableLines` if some could not be parsed."""
    problems: list[tuple[int, str]] = []
    count = 0
    with opened as lines:
        for line in lines:
            outcome = _parse(line)
            if not isinstance(outcome, str):
                yield outcome
                continue
            count += 1
            if count <= MAX_PROBLEMS:
                problems.append((line.number, outcome))
    if count:
        first, reason = problems[0]
        message = f"{count} lines of the results of {name} cannot be read; the first is line {first}: {reason}"
        raise UnreadableLines(message, problems=problems, count=count)


def _parse(line: Line) -> ResultLine | str:
    """Return the object, or why there is none."""
    if line.oversized:
        return "too long"
    try:
        data = json.loads(line.data.decode())
    except (ValueError, RecursionError) as error:
        return f"not JSON: {error}"
    return result_line(data) or "not a result: it needs a custom_id and a result with a type"
