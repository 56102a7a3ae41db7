"""The fields of the API's answers, and how to find one in a JSON document.

A field is given by its path, such as `request_counts.processing`. In a listing and in results, a path is relative to
each entry or line; `data`, `has_more`, `first_id` and `last_id` are fields of the page.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import Any

from django_claude_batches.testing.emulator.http_messages import VERBS, Response

from .context import meant
from .mutations import NOTHING

BATCH = (
    *("id", "type", "processing_status", "request_counts"),
    *(f"request_counts.{name}" for name in ("processing", "succeeded", "errored", "canceled", "expired")),
    *("created_at", "expires_at", "ended_at", "archived_at", "cancel_initiated_at", "results_url"),
)
PAGE = ("data", "has_more", "first_id", "last_id")
LINE = ("custom_id", "result", "result.type", "result.message", "result.message.*", "result.error", "result.error.*")
ERROR = ("type", "error", "error.type", "error.message", "error.details", "error.details.*", "request_id")

# Fields of the successful answer to each verb; `*` matches any path below.
FIELDS: dict[str, tuple[str, ...]] = {
    "create": BATCH,
    "retrieve": BATCH,
    "list": PAGE + BATCH,
    "cancel": BATCH,
    "delete": ("id", "type"),
    "results": LINE,
}

Path = tuple[str | int, ...]


def verbs_with(field: str) -> tuple[str, ...]:
    """Return the verbs whose answers have this field, or raise a ValueError that lists the fields."""
    verbs = tuple(verb for verb in VERBS if is_field(field, FIELDS[verb] + ERROR))
    if not verbs:
        known = dict.fromkeys(name for verb in VERBS for name in FIELDS[verb] + ERROR)
        raise ValueError(f"no answer has a field {field!r}.{meant(field, known)} There are: {', '.join(known)}")
    return verbs


def check_field(field: str, verbs: tuple[str, ...]) -> None:
    """Raise a ValueError that lists the fields, unless the answers to all of these verbs have this field."""
    for verb in verbs:
        known = FIELDS[verb] + ERROR
        if not is_field(field, known):
            near = meant(field, known)
            raise ValueError(f"the answer to {verb} has no field {field!r}.{near} It has: {', '.join(known)}")


def is_field(field: str, known: tuple[str, ...]) -> bool:
    return any(fnmatchcase(field, name) for name in known)


def path_of(field: str) -> Path:
    return tuple(int(name) if name.isdecimal() else name for name in field.split("."))


def paths(document: Any, *, below: Path = ()) -> Iterator[Path]:
    """Yield the path of each value within an object or a list."""
    pairs = document.items() if isinstance(document, dict) else enumerate(document)
    for name, value in pairs:
        yield (*below, name)
        if isinstance(value, dict | list):
            yield from paths(value, below=(*below, name))


def put(document: Any, path: Path, change: Callable[[Any], Any]) -> bool:
    """Change the value at `path` in place, or add it to its object, and return whether this was possible."""
    for name in path[:-1]:
        document = _child(document, name)
    name = path[-1]
    value = _child(document, name)
    if value is NOTHING and not isinstance(document, dict):
        return False
    bent = change(None if value is NOTHING else value)
    if bent is NOTHING and value is NOTHING:
        return False
    if bent is NOTHING:
        del document[name]
    else:
        document[name] = bent
    return True


def _child(document: Any, name: str | int) -> Any:
    if isinstance(document, dict):
        return document.get(name, NOTHING)
    if isinstance(document, list) and isinstance(name, int) and name < len(document):
        return document[name]
    return NOTHING


def decoded(answer: Response) -> Any:
    """Return the answer's JSON, or None if it has none, for example after an earlier bend."""
    return read(answer.body) if isinstance(answer.body, bytes) else None


def read(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
