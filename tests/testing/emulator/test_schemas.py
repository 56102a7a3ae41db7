"""A value that fits a schema, and what structured outputs refuse."""

from __future__ import annotations

import json

import jsonschema
import pytest

from django_claude_batches.testing.emulator.schemas import FORMATS, MAX_NODES, fitting, refused

TAG = {"$defs": {"Tag": {"enum": ["x", "y"]}, "a/b": {"const": 3}}}
TEXT = "Tag this review:\nToo small, but warm."
TREE = {
    "$defs": {
        "Tree": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "child": {"anyOf": [{"$ref": "#/$defs/Tree"}, {"type": "null"}]},
                "others": {"type": "array", "items": {"$ref": "#/$defs/Tree"}},
            },
            "required": ["name", "child", "others"],
        }
    },
    "$ref": "#/$defs/Tree",
}
CASES = [
    ({"type": "string"}, "Too"),
    ({"type": "string", "minLength": 8}, "Too small"),
    ({"type": "string", "minLength": 30}, "Too small but warm Too small but"),
    ({"type": "string", "maxLength": 2}, "To"),
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
    ({"type": ["null", "string"]}, "Too"),
    ({"type": "array", "items": {"type": "string"}}, ["Too"]),
    ({"type": "array", "items": {"type": "string"}, "maxItems": 0}, []),
    ({"type": "array", "items": {"type": "boolean"}, "minItems": 2}, [False, False]),
    ({"const": 7}, 7),
    ({"enum": ["x", "y"]}, "x"),
    ({"type": "string", "default": "d"}, "d"),
    ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, 0),
    ({"oneOf": [{"const": 1}, {"const": 2}]}, 1),
    ({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}}, {"a": "Too", "b": "small"}),
    ({"type": "object", "properties": {"a": {"type": "string"}, "b": {}}, "required": ["a"]}, {"a": "Too"}),
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
    (TREE, {"name": "Too", "child": None, "others": []}),
]


@pytest.mark.parametrize(("schema", "value"), CASES)
def test_fitting(schema, value):
    assert fitting(schema, TEXT) == value
    jsonschema.validate(value, schema)


@pytest.mark.parametrize("name", FORMATS)
def test_formats_count_more_than_lengths(name):
    assert fitting({"type": "string", "format": name, "minLength": 1}, TEXT) == FORMATS[name]


def test_without_a_word_in_the_prompt_strings_are_filled_all_the_same():
    assert fitting({"type": "string", "minLength": 3}, "?!\n") == "a a"


def doubled(levels):
    """A small schema, whose value has 2 ** levels parts."""
    parts = {
        f"l{n}": {"properties": {key: {"$ref": f"#/$defs/l{n + 1}"} for key in "ab"}, "required": ["a", "b"]}
        for n in range(levels)
    }
    return {"$defs": parts | {f"l{levels}": {"type": "string"}}, "$ref": "#/$defs/l0"}


def chained(length):
    """A schema whose references lead to each other, one after the other."""
    links = {f"l{n}": {"items": {"$ref": f"#/$defs/l{n + 1}"}} for n in range(length)}
    return {"$defs": links | {f"l{length}": {"type": "string"}}, "$ref": "#/$defs/l0"}


NOTHING_FITS = [
    {"enum": []},
    {"$ref": "#/$defs/Nope"},
    {"$ref": "#"},
    {"$defs": {"A": {"required": ["a"], "properties": {"a": {"$ref": "#/$defs/A"}}}}, "$ref": "#/$defs/A"},
    {"properties": 5},
    {"required": 5},
    {"anyOf": []},
    {"type": "array", "minItems": "x"},
    {"type": "array", "items": {"type": "null"}, "minItems": 10**9},
    {"type": "string", "minLength": 10**9},
    doubled(60),
    {},
    True,
    None,
]


@pytest.mark.parametrize("schema", NOTHING_FITS, ids=lambda schema: str(schema)[:40])
def test_nothing_is_filled_where_nothing_fits(schema):
    assert fitting(schema, TEXT) == {}


def test_a_value_has_no_more_parts_than_may_be():
    assert len(json.dumps(fitting(doubled(10), TEXT))) > 2**10
    assert MAX_NODES < 2**60


REFUSED = [
    (5, "Input should be a valid dictionary"),
    ({"properties": {"a": {"enum": []}}}, "enum: List should have at least 1 item after validation, not 0"),
    ({"properties": {"a": {"$ref": "#/$defs/Nope"}}}, "Unable to resolve reference '#/$defs/Nope'"),
    ({"properties": {"a": {"$ref": "other.json"}}}, "Unable to resolve reference 'other.json'"),
    (TREE, "Circular reference detected in schema definitions: Tree -> Tree."),
    ({"properties": {"a": {"$ref": "#"}}}, "Circular reference detected in schema definitions: # -> #."),
    (
        {"$defs": {"A": {"items": {"$ref": "#/$defs/B"}}, "B": {"not": {"$ref": "#/$defs/A"}}}, "$ref": "#/$defs/B"},
        "Circular reference detected in schema definitions: B -> A -> B.",
    ),
    *(
        ({"properties": {name: {"$ref": "#/$defs/Nope"}}}, "Unable to resolve reference '#/$defs/Nope'")
        for name in ("const", "default", "enum", "examples")
    ),
    (
        {"$defs": {"T": {"properties": {"default": {"$ref": "#/$defs/T"}}}}, "$ref": "#/$defs/T"},
        "Circular reference detected in schema definitions: T -> T.",
    ),
    ({"patternProperties": {"enum": {"enum": []}}}, "enum: List should have at least 1 item after validation, not 0"),
    ({"$ref": "#/anyOf/1", "anyOf": [{}]}, "Unable to resolve reference '#/anyOf/1'"),
    ({"$ref": "#/anyOf/-1", "anyOf": [{}]}, "Unable to resolve reference '#/anyOf/-1'"),
]


@pytest.mark.parametrize(("schema", "text"), REFUSED)
def test_refused(schema, text):
    assert refused(schema).startswith(text)


@pytest.mark.parametrize(
    "schema",
    [
        {"$defs": {"A": {"type": "string"}}, "properties": {"a": {"$ref": "#/$defs/A"}, "b": {"$ref": "#/$defs/A"}}},
        {"properties": {"a": {"const": {"$ref": "#"}, "default": {"enum": []}}}},
        doubled(60),
        {"properties": {"enum": {}, "default": {"type": "string"}}, "$defs": {"const": {"enum": [1]}}},
        {"properties": {"a": {"anyOf": [{"type": "string"}]}, "b": {"$ref": "#/properties/a/anyOf/0"}}},
        chained(3_000),
    ],
    ids=[
        *("one definition twice", "what is a value", "many paths"),
        *("properties named as keywords", "a reference into a list", "a long chain"),
    ],
)
def test_taken(schema):
    assert refused(schema) is None
