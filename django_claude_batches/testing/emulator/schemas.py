"""The smallest value that fits a JSON schema."""

from __future__ import annotations

from typing import Any

FORMATS = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "email": "a@example.com",
    "time": "00:00:00Z",
    "uri": "https://example.com",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def smallest(schema: Any) -> Any:
    """Return the smallest value that fits the schemas that structured outputs take: no patterns, no recursion."""
    return _smallest(schema, schema)


def _smallest(schema: Any, root: Any) -> Any:
    if not isinstance(schema, dict):
        return {}
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if "enum" in schema:
        return schema["enum"][0]
    if "$ref" in schema:
        return _smallest(_resolve(schema["$ref"], root), root)
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return _smallest(schema[key][0], root)
    if "allOf" in schema:
        return _smallest(_merged(schema["allOf"], root), root)
    return _of_type(schema, root)


def _of_type(schema: dict[str, Any], root: Any) -> Any:
    kind = schema.get("type", "object")
    if isinstance(kind, list):
        kind = kind[0]
    match kind:
        case "object":
            properties = schema.get("properties", {})
            wanted = schema.get("required", properties)
            return {name: _smallest(properties.get(name, {"type": "string"}), root) for name in wanted}
        case "array":
            return [_smallest(schema.get("items", {}), root) for _ in range(schema.get("minItems", 0))]
        case "string":
            return FORMATS.get(schema.get("format", ""), "a" * schema.get("minLength", 0))
        case "integer" | "number":
            return _number(schema, whole=kind == "integer")
        case "boolean":
            return False
        case _:
            return None


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


def _resolve(reference: str, root: Any) -> Any:
    """Follow a local reference (`#/$defs/Name`)."""
    found = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        if part:
            found = found[part.replace("~1", "/").replace("~0", "~")]
    return found


def _merged(parts: list[Any], root: Any) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for part in parts:
        schema = _resolve(part["$ref"], root) if "$ref" in part else part
        merged |= schema | {"properties": merged.get("properties", {}) | schema.get("properties", {})}
    return merged
