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
# Keywords whose values are not schemas.
VALUES = frozenset({"const", "default", "enum", "examples"})

CONTAINERS = (dict, list)

# Maximum of parts of a value: with references, even a small schema's smallest value can exceed the memory.
MAX_NODES = 10_000


def refused(schema: Any) -> str | None:
    """Return why structured outputs refuse this schema, or None.

    Only schemas without a finite value are found: an empty `enum`, an unresolvable reference, and a recursive one.
    The first two texts are inferred.
    """
    if not isinstance(schema, dict):
        return "Input should be a valid dictionary"
    try:
        return _refused_references(schema, schema, {"#": None}, set())
    except _NoEnum:
        return "enum: List should have at least 1 item after validation, not 0"
    except LookupError as error:
        return f"Unable to resolve reference {error.args[0]!r}"


class _NoEnum(Exception):
    """An `enum` without a value."""


def _refused_references(schema: Any, root: dict[str, Any], path: dict[str, None], seen: set[str]) -> str | None:
    """Follow each reference below `schema` once; `path` are the references followed so far."""
    for reference in _references(schema):
        if reference in path:
            circle = [*path, reference][list(path).index(reference) :]
            names = " -> ".join(name.rpartition("/")[2] for name in circle)
            return (
                f"Circular reference detected in schema definitions: {names}. Self-referencing or mutually-referencing "
                "definitions are not supported."
            )
        if reference not in seen:
            found = _refused_references(_resolved(reference, root), root, path | {reference: None}, seen)
            if found:
                return found
            seen.add(reference)
    return None


def _references(schema: Any) -> list[str]:
    found = []
    nodes = [schema]
    for node in nodes:  # the loop extends it
        if isinstance(node, list):
            nodes.extend(node)
        elif isinstance(node, dict):
            for key, each in node.items():
                if isinstance(each, CONTAINERS):
                    if key not in VALUES:
                        nodes.append(each)
                    elif key == "enum" and not each:
                        raise _NoEnum
                elif key == "$ref" and isinstance(each, str):
                    found.append(each)
    return found


def _resolved(reference: str, root: Any) -> Any:
    """Follow a local reference (`#/$defs/Name`), or raise LookupError with it."""
    found = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        try:
            found = found[part.replace("~1", "/").replace("~0", "~")] if part else found
        except (LookupError, TypeError):
            raise LookupError(reference) from None
    return found


def fitting(schema: Any, text: str = "") -> Any:
    """Return a small value that fits the schema; its strings are words of `text`, its lists have one item.

    `default`, `enum`, `format`, and the bounds of lengths and numbers are honored, patterns are not. Return {} if
    nothing fits, which is only possible for a tool's schema: those that structured outputs refuse are rejected before.
    """
    try:
        return _Filler(schema, text).fill(schema, ())
    except (_NothingFits, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        return {}


class _NothingFits(Exception):
    """No finite value fits this part."""


class _Filler:
    def __init__(self, root: Any, text: str) -> None:
        self._root = root
        self._text = text
        self._words: Iterator[str] | None = None
        self._left = MAX_NODES

    def fill(self, schema: Any, path: tuple[str, ...]) -> Any:
        """Return a value; `path` are the references followed so far."""
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
        """Return a value of the first alternative that has one, trying null last."""
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
        """Return the next word of the text's last line, which usually has the prompt's subject."""
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
