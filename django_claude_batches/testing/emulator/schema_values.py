"""Make a value that fits a JSON schema, for structured outputs (`docs/reference/wire.md` §13)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import cycle
from typing import Any, NamedTuple

from django_claude_batches.testing.emulator.validation.schemas import (
    FORMATS,
    LOWER,
    MAX_NODES,
    MAX_REFERENCES,
    UPPER,
    resolved,
)


def fitting(schema: Any, text: str = "") -> Any:
    """Return a small value that fits the schema; its strings are words of `text`, its lists have one item.

    `default`, `enum`, `format`, and the bounds of lengths and numbers are honored. Patterns, `not`, `if` and
    `additionalProperties` are not, and `oneOf` is treated as `anyOf`. Return {} if nothing is found that fits.
    """
    try:
        return _Filler(schema, text).fill([_Part(schema, ())])
    except (_NothingFits, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        return {}


class _Part(NamedTuple):
    """A schema, and the references that were followed to it."""

    schema: Any
    path: tuple[str, ...]


class _NothingFits(Exception):
    """No finite value fits this part."""


class _Filler:
    """Makes values for parts of a schema; for several at once if a value fits all (`allOf`, a reference's siblings)."""

    def __init__(self, root: Any, text: str) -> None:
        self._root = root
        self._text = text
        self._words: Iterator[str] | None = None
        self._left = MAX_NODES

    def fill(self, parts: list[_Part]) -> Any:
        parts = self._flat(parts)
        for key in ("const", "default"):
            for part in parts:
                if key in part.schema:
                    return part.schema[key]
        if enums := [part.schema["enum"] for part in parts if "enum" in part.schema]:
            return _first_of_all(enums)
        for key in ("anyOf", "oneOf"):
            for part in parts:
                if key in part.schema:
                    rest = _Part({name: each for name, each in part.schema.items() if name != key}, part.path)
                    others = [rest if each is part else each for each in parts]
                    return self._first_of([[*others, _Part(each, part.path)] for each in _null_last(part.schema[key])])
        return self._of_type(parts)

    def _flat(self, parts: list[_Part]) -> list[_Part]:
        """Return the parts with their references and `allOf` resolved."""
        flat = []
        pending = list(parts)
        for schema, path in pending:  # `pending` grows in this loop
            self._left -= 1
            if self._left < 0 or schema is False:
                raise _NothingFits
            if not isinstance(schema, dict):
                continue
            if "$ref" in schema:
                reference = schema["$ref"]
                if reference in path or len(path) == MAX_REFERENCES:
                    raise _NothingFits
                pending.append(_Part(resolved(reference, self._root), (*path, reference)))
            pending.extend(_Part(each, path) for each in schema.get("allOf", ()))
            own = {key: each for key, each in schema.items() if key not in ("$ref", "allOf")}
            flat.append(_Part(own, path))
        return flat

    def _first_of(self, alternatives: list[list[_Part]]) -> Any:
        """Return a value for the first alternative that has one."""
        for parts in alternatives:
            try:
                return self.fill(parts)
            except _NothingFits:
                continue
        raise _NothingFits

    def _of_type(self, parts: list[_Part]) -> Any:
        bounds = _bounds(parts)
        match kind := _kind(parts):
            case "object":
                return self._object(parts)
            case "array":
                return self._array(parts, bounds)
            case "string":
                return self._string(bounds)
            case "integer" | "number":
                return _number(bounds, whole=kind == "integer")
            case "boolean":
                return False
            case _:
                return None

    def _object(self, parts: list[_Part]) -> dict[str, Any]:
        properties: dict[str, list[_Part]] = {}
        for schema, path in parts:
            for name, each in (schema.get("properties") or {}).items():
                properties.setdefault(name, []).append(_Part(each, path))
        required = [name for part in parts for name in part.schema.get("required") or ()]
        is_required = any(part.schema.get("required") is not None for part in parts)
        filled = {}
        for name in dict.fromkeys(required) if is_required else properties:
            try:
                filled[name] = self.fill(properties.get(name, [_Part({"type": "string"}, ())]))
            except _NothingFits:
                if is_required:
                    raise
        return filled

    def _array(self, parts: list[_Part], bounds: dict[str, Any]) -> list[Any]:
        least = bounds.get("minItems", 0)
        usual = max(least, 1, *(len(part.schema.get("prefixItems", ())) for part in parts))
        filled: list[Any] = []
        while len(filled) < min(usual, bounds.get("maxItems", usual)):
            try:
                filled.append(self.fill([_item(part, len(filled)) for part in parts]))
            except _NothingFits:
                if len(filled) < least:
                    raise
                break
        return filled

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


def _first_of_all(enums: list[list[Any]]) -> Any:
    for value in enums[0]:
        if all(value in each for each in enums):
            return value
    raise _NothingFits


def _null_last(alternatives: list[Any]) -> list[Any]:
    return sorted(alternatives, key=lambda schema: schema == {"type": "null"})


def _kind(parts: list[_Part]) -> str:
    """Return the first type that all parts allow, null last."""
    kinds: list[str] | None = None
    for part in parts:
        if "type" in part.schema:
            own = part.schema["type"]
            own = list(own) if isinstance(own, list) else [own]
            if "number" in own:
                own.append("integer")
            kinds = own if kinds is None else [kind for kind in kinds if kind in own]
    if kinds is None:
        return "object"
    if not kinds:
        raise _NothingFits
    return next((kind for kind in kinds if kind != "null"), "null")


def _bounds(parts: list[_Part]) -> dict[str, Any]:
    """Return the parts' other keywords, with the highest of each lower bound and the lowest of each upper bound."""
    bounds: dict[str, Any] = {}
    for part in parts:
        for key, value in part.schema.items():
            strictest = max if key in LOWER else min if key in UPPER else None
            bounds[key] = strictest(bounds[key], value) if strictest and key in bounds else value
    return bounds


def _item(part: _Part, index: int) -> _Part:
    """Return the part's schema for the array's item at this index."""
    first = part.schema.get("prefixItems", ())
    return _Part(first[index] if index < len(first) else part.schema.get("items", True), part.path)


def _number(bounds: dict[str, Any], *, whole: bool) -> float:
    step = 1 if whole else 0.5
    low, high = bounds.get("minimum", -math.inf), bounds.get("maximum", math.inf)
    if "exclusiveMinimum" in bounds:
        low = max(low, bounds["exclusiveMinimum"] + step)
    if "exclusiveMaximum" in bounds:
        high = min(high, bounds["exclusiveMaximum"] - step)
    if low > 0:
        return math.ceil(low) if whole else float(low)
    if high < 0:
        return math.floor(high) if whole else float(high)
    return 0
