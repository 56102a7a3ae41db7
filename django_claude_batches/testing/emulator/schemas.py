"""JSON schemas: what structured outputs refuse (`docs/reference/wire.md` §13), and a value that fits one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import cycle
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
VALUES = frozenset({"const", "default", "enum", "examples"})
"""Keywords that hold values, in which nothing is a schema."""

NAMED = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"})
"""Keywords that hold schemas by a name of the schema's author, which may be that of a keyword."""

CONTAINERS = (dict, list)

MAX_NODES = 10_000
"""References can make a small schema's smallest value larger than memory: no more parts than these are made."""


def refused(schema: Any) -> str | None:
    """Return why structured outputs refuse this schema, or None.

    Only what has no value or no end is found: an empty `enum`, a reference that leads nowhere, and a recursive one.
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
    path = {"#": iter(_references(root))}  # those being followed, each with what is left of its own
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
            path[reference] = iter(_references(_resolved(reference, root)))
    return None


def _references(schema: Any) -> list[str]:
    found = []
    nodes = [schema]
    for node in nodes:  # which grows meanwhile
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


def _resolved(reference: str, root: Any) -> Any:
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


def fitting(schema: Any, text: str = "") -> Any:
    """Return a small value that fits the schema; its strings are words of `text`, its lists have an item.

    `default`, `enum`, `format`, and the bounds of lengths and numbers are honoured, patterns are not. {} where nothing
    fits, which can only be so of a tool's schema: what structured outputs refuse does not come here.
    """
    try:
        return _Filler(schema, text).fill(schema, ())
    except (_NothingFits, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        return {}


class _NothingFits(Exception):
    """No value fits this part, or only one without an end."""


class _Filler:
    def __init__(self, root: Any, text: str) -> None:
        self._root = root
        self._text = text
        self._words: Iterator[str] | None = None
        self._left = MAX_NODES

    def fill(self, schema: Any, path: tuple[str, ...]) -> Any:
        """Return a value; `path` are the references that are being followed."""
        self._left -= 1
        if self._left < 0:
            raise _NothingFits
        if not isinstance(schema, dict):
            return {}
        for key in ("const", "default"):
            if key in schema:
                return schema[key]
        if "enum" in schema:
            return schema["enum"][0]
        if "$ref" in schema:
            if schema["$ref"] in path:
                raise _NothingFits
            return self.fill(_resolved(schema["$ref"], self._root), (*path, schema["$ref"]))
        for key in ("anyOf", "oneOf"):
            if key in schema:
                return self._first_of(schema[key], path)
        if "allOf" in schema:
            return self.fill(self._merged(schema["allOf"]), path)
        return self._of_type(schema, path)

    def _first_of(self, schemas: list[Any], path: tuple[str, ...]) -> Any:
        """Fill the first alternative that something fits, null last."""
        for schema in sorted(schemas, key=lambda schema: schema == {"type": "null"}):
            try:
                return self.fill(schema, path)
            except _NothingFits:
                continue
        raise _NothingFits

    def _of_type(self, schema: dict[str, Any], path: tuple[str, ...]) -> Any:
        kind = schema.get("type", "object")
        if isinstance(kind, list):
            kind = next((each for each in kind if each != "null"), "null")
        match kind:
            case "object":
                return self._object(schema, path)
            case "array":
                return self._array(schema, path)
            case "string":
                return self._string(schema)
            case "integer" | "number":
                return _number(schema, whole=kind == "integer")
            case "boolean":
                return False
            case _:
                return None

    def _object(self, schema: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
        properties = schema.get("properties") or {}
        required = schema.get("required")
        filled = {}
        for name in properties if required is None else required:
            try:
                filled[name] = self.fill(properties.get(name, {"type": "string"}), path)
            except _NothingFits:
                if required is not None:
                    raise
        return filled

    def _array(self, schema: dict[str, Any], path: tuple[str, ...]) -> list[Any]:
        least = schema.get("minItems", 0)
        items = schema.get("items", {})
        try:
            return [self.fill(items, path) for _ in range(min(max(least, 1), schema.get("maxItems", least + 1)))]
        except _NothingFits:
            if least:
                raise
            return []

    def _string(self, schema: dict[str, Any]) -> str:
        if schema.get("format") in FORMATS:
            return FORMATS[schema["format"]]
        least, most = schema.get("minLength", 0), schema.get("maxLength")
        if least > MAX_NODES:
            raise _NothingFits
        text = self._word()
        while len(text) < least:
            text += f" {self._word()}"
        return text[:most].ljust(least, "a")

    def _word(self) -> str:
        """Return the next word of the text's last line, which is where prompts have what they are about."""
        if self._words is None:
            line = self._text.rstrip().rpartition("\n")[2][:200]
            self._words = cycle(re.findall(r"\w+", line) or ["a"])
        return next(self._words)

    def _merged(self, parts: list[Any]) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for part in parts:
            schema = _resolved(part["$ref"], self._root) if "$ref" in part else part
            merged |= schema | {"properties": merged.get("properties", {}) | schema.get("properties", {})}
        return merged


def _number(schema: dict[str, Any], *, whole: bool) -> float:
    step = 1 if whole else 0.5
    low, high = schema.get("minimum"), schema.get("maximum")
    if "exclusiveMinimum" in schema:
        low = schema["exclusiveMinimum"] + step
    if "exclusiveMaximum" in schema:
        high = schema["exclusiveMaximum"] - step
    if low is not None and low > 0:
        return float(low) if not whole else int(low)
    if high is not None and high < 0:
        return float(high) if not whole else int(high)
    return 0
