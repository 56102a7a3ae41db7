"""Find JSON schemas that structured outputs refuse (`docs/reference/wire.md` §13)."""

from __future__ import annotations

from typing import Any

FORMATS = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "duration": "P1D",
    "email": "a@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "time": "00:00:00Z",
    "uri": "https://example.com",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
# Keywords whose values are not schemas.
VALUES = frozenset({"const", "default", "enum", "examples"})

# Keywords that contain schemas by the author's names, which may be equal to keywords.
NAMED = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"})

CONTAINERS = (dict, list)

# Maximum of parts of a value: with references, even a small schema's smallest value can exceed the memory.
MAX_NODES = 10_000

# Maximum of references that are followed on the way to one part.
MAX_REFERENCES = 1_000

LOWER = frozenset({"exclusiveMinimum", "minItems", "minLength", "minimum"})
UPPER = frozenset({"exclusiveMaximum", "maxItems", "maxLength", "maximum"})


def refused(schema: Any) -> str | None:
    """Return why structured outputs refuse this schema, or None.

    Only schemas without a finite value are found: an empty `enum`, an unresolvable reference, and a recursive one.
    The first two texts are inferred.
    """
    if not isinstance(schema, dict):
        return "Input should be a valid dictionary"
    try:
        return _circle(schema)
    except _NoEnum:
        return "enum: List should have at least 1 item after validation, not 0"
    except LookupError as error:
        return f"Unable to resolve reference {error.args[0]!r}"


class _NoEnum(Exception):
    """An `enum` without a value."""


def _circle(root: dict[str, Any]) -> str | None:
    """Follow each reference once, without recursion: a chain of them may be longer than Python's stack."""
    path = {"#": iter(_references(root))}  # those being followed, each with its remaining references
    seen: set[str] = set()
    while path:
        reference = next(path[next(reversed(path))], None)
        if reference is None:
            seen.add(path.popitem()[0])
        elif reference in path:
            circle = [*path, reference][list(path).index(reference) :]
            names = " -> ".join(name.rpartition("/")[2] for name in circle)
            return (
                f"Circular reference detected in schema definitions: {names}. Self-referencing or mutually-referencing "
                "definitions are not supported."
            )
        elif reference not in seen:
            path[reference] = iter(_references(resolved(reference, root)))
    return None


def _references(schema: Any) -> list[str]:
    found = []
    nodes = [schema]
    for node in nodes:  # `nodes` grows in this loop
        if isinstance(node, list):
            nodes.extend(node)
        elif isinstance(node, dict):
            for key, each in node.items():
                if key in NAMED and isinstance(each, dict):
                    nodes.extend(each.values())
                elif key == "enum" and each == []:
                    raise _NoEnum
                elif key == "$ref" and isinstance(each, str):
                    found.append(each)
                elif key not in VALUES and isinstance(each, CONTAINERS):
                    nodes.append(each)
    return found


def resolved(reference: str, root: Any) -> Any:
    """Follow a local reference (`#/$defs/Name`), or raise LookupError with it."""
    found = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        try:
            if isinstance(found, list) and part.isdecimal():
                found = found[int(part)]
            elif part:
                found = found[part.replace("~1", "/").replace("~0", "~")]
        except (LookupError, TypeError, ValueError):
            raise LookupError(reference) from None
    return found
