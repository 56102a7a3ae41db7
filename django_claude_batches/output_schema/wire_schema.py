"""Convert a JSON Schema to the subset that `output_config.format` supports (docs/reference/wire.md §13). No I/O.

This module also knows which models support structured output.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Any

# The first models that support structured output without a beta: Sonnet, Haiku and Opus 4.5. Current models are newer.
FIRST_VERSION = (4, 5)

# The string formats that the API enforces.
FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"},
)

_VERSION = re.compile(r"claude-(?:[a-z]+-)?v?(\d+)(?:[-.](\d{1,2}))?(?!\d)")
_DEFINITIONS = re.compile(r"#/(?:\$defs|definitions)/(.+)")
_ABOUT_ITSELF = frozenset({"$schema", "$id", "$comment"})
_PRIMITIVE = (str, int, float, bool, type(None))


class _Inexpressible(ValueError):
    """A schema that the API's subset cannot express."""


def has_structured_output(model: str) -> bool:
    """Return whether the model supports `output_config.format`, by its name: all models since version 4.5 do.

    A name without a version counts as a newer model. If that is wrong, Anthropic refuses the request, names the
    parameter, and bills nothing. The opposite mistake would not be noticed.
    """
    found = _VERSION.search(model)
    return found is None or (int(found[1]), int(found[2] or 0)) >= FIRST_VERSION


def to_wire_schema(schema: dict[str, Any]) -> dict[str, Any] | None:
    """Return a JSON Schema in the subset that the API supports; None if the subset cannot express it.

    As in the official SDK, objects are closed, and unsupported keywords (such as `minimum`, `pattern`) are moved to the
    description. An answer that fits the returned schema may not fit the original one, so validate it against the
    original.

    Recursive schemas, schemas without a type, and objects whose member names are not fixed cannot be expressed. (The
    SDK closes such objects too, so that `{}` is the only possible answer.)
    """
    try:
        made = _of(schema)
    except _Inexpressible:
        return None
    return made if _resolves(made) else None


def _of(schema: Any) -> dict[str, Any]:
    if not isinstance(schema, dict):
        raise _Inexpressible
    rest = {key: value for key, value in schema.items() if key not in _ABOUT_ITSELF}
    made: dict[str, Any] = {}
    for name in ("$defs", "definitions"):
        if (definitions := rest.pop(name, None)) is not None:
            made.setdefault("$defs", {}).update({key: _of(value) for key, value in definitions.items()})
    if (reference := rest.pop("$ref", None)) is not None:
        return {**made, "$ref": _DEFINITIONS.sub(r"#/$defs/\1", str(reference))}
    kind = rest.pop("type", None)
    if not _take_literals(rest, made) and not _take_alternatives(rest, made):
        _take_kind(kind, rest, made)
    for name in ("description", "title"):
        if (text := rest.pop(name, None)) is not None:
            made[name] = text
    if rest:
        said = "{" + ", ".join(f"{key}: {value}" for key, value in rest.items()) + "}"
        made["description"] = f"{made['description']}\n\n{said}" if "description" in made else said
    return made


def _take_literals(rest: dict[str, Any], made: dict[str, Any]) -> bool:
    """Convert `enum` and `const`, which need no type, and return whether there was one."""
    if (values := rest.get("enum")) and all(isinstance(value, _PRIMITIVE) for value in values):
        made["enum"] = rest.pop("enum")
    if "const" in rest and isinstance(rest["const"], _PRIMITIVE):
        made["const"] = rest.pop("const")
    return "enum" in made or "const" in made


def _take_alternatives(rest: dict[str, Any], made: dict[str, Any]) -> bool:
    """Convert the first of `anyOf`, `oneOf` and `allOf`, and return whether there was one."""
    found = {name: rest.pop(name) for name in ("anyOf", "oneOf", "allOf") if name in rest}
    if found and "properties" in rest:
        raise _Inexpressible
    for name, schemas in found.items():
        made["allOf" if name == "allOf" else "anyOf"] = [_of(schema) for schema in schemas]
        return True
    return False


def _take_kind(kind: Any, rest: dict[str, Any], made: dict[str, Any]) -> None:
    if isinstance(kind, list):
        about: dict[str, Any] = {name: rest.pop(name) for name in ("description", "title") if name in rest}
        made["anyOf"] = [_of({"type": one} if one == "null" else {"type": one, **rest}) for one in kind]
        rest.clear()
        rest.update(about)
        return
    if not isinstance(kind, str):
        raise _Inexpressible
    made["type"] = kind
    if kind == "object":
        _take_members(rest, made)
    elif kind == "array":
        if "items" in rest:
            made["items"] = _of(rest.pop("items"))
        if rest.get("minItems") in (0, 1):
            made["minItems"] = rest.pop("minItems")
    elif kind == "string" and rest.get("format") in FORMATS:
        made["format"] = rest.pop("format")


def _take_members(rest: dict[str, Any], made: dict[str, Any]) -> None:
    properties, others = rest.pop("properties", {}), rest.pop("additionalProperties", None)
    required = rest.pop("required", [])
    is_open = isinstance(others, dict) or (not properties and others is not False)
    if is_open or not isinstance(required, list) or not set(required) <= properties.keys():
        raise _Inexpressible
    made["properties"] = {name: _of(value) for name, value in properties.items()}
    made["additionalProperties"] = False
    if required:
        made["required"] = required


def _resolves(made: dict[str, Any]) -> bool:
    """Return whether every reference is to a definition at the top level, and no definition is recursive."""
    definitions = made.get("$defs", {})
    graph = {name: set(_references(definition)) for name, definition in definitions.items()}
    named = graph.keys() | set(_references(made))
    if not named <= graph.keys():
        return False
    try:
        TopologicalSorter(graph).prepare()
    except CycleError:
        return False
    return True


def _references(value: Any) -> Iterator[str]:
    """Yield the name of each definition that is referred to; for any other reference, yield the reference itself."""
    if isinstance(value, list):
        for item in value:
            yield from _references(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key == "$ref" and isinstance(item, str):
                yield item.removeprefix("#/$defs/")
            else:
                yield from _references(item)
