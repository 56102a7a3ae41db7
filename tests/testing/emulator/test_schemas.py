"""The smallest value that fits a schema."""

from __future__ import annotations

import pytest

from django_claude_batches.testing.emulator.schemas import smallest

TAG = {"$defs": {"Tag": {"enum": ["x", "y"]}, "a/b": {"const": 3}}}
CASES = [
    ({"type": "string"}, ""),
    ({"type": "string", "minLength": 3}, "aaa"),
    ({"type": "string", "format": "date"}, "2026-01-01"),
    ({"type": "integer"}, 0),
    ({"type": "integer", "minimum": 3}, 3),
    ({"type": "integer", "exclusiveMinimum": 3}, 4),
    ({"type": "integer", "maximum": -3}, -3),
    ({"type": "integer", "exclusiveMaximum": 0}, -1),
    ({"type": "number", "exclusiveMinimum": 3}, 3.5),
    ({"type": "number", "minimum": 0, "maximum": 1}, 0),
    ({"type": "boolean"}, False),
    ({"type": "null"}, None),
    ({"type": ["null", "string"]}, None),
    ({"type": "array", "items": {"type": "string"}}, []),
    ({"type": "array", "items": {"type": "boolean"}, "minItems": 2}, [False, False]),
    ({"const": 7}, 7),
    ({"enum": ["x", "y"]}, "x"),
    ({"type": "string", "default": "d"}, "d"),
    ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, 0),
    ({"oneOf": [{"const": 1}, {"const": 2}]}, 1),
    ({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "null"}}}, {"a": "", "b": None}),
    ({"type": "object", "properties": {"a": {"type": "string"}, "b": {}}, "required": ["a"]}, {"a": ""}),
    (TAG | {"type": "object", "properties": {"t": {"$ref": "#/$defs/Tag"}}}, {"t": "x"}),
    (TAG | {"$ref": "#/$defs/a~1b"}, 3),
    (
        {
            "allOf": [
                {"type": "object", "properties": {"a": {"const": 1}}},
                {"properties": {"b": {"const": 2}}},
            ]
        },
        {"a": 1, "b": 2},
    ),
    ({}, {}),
    (True, {}),
]


@pytest.mark.parametrize(("schema", "value"), CASES)
def test_smallest(schema, value):
    assert smallest(schema) == value
