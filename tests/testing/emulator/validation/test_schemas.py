"""Values that fit a schema, and schemas that structured outputs refuse."""

from __future__ import annotations

import json

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_claude_batches.testing.emulator.schema_values import fitting
from django_claude_batches.testing.emulator.validation.schemas import FORMATS, MAX_NODES, refused

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
PAIR = {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}]}
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
    (
        {
            "allOf": [
                {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
                {"type": "object", "properties": {"b": {"type": "string"}}, "required": ["b"]},
            ]
        },
        {"a": 0, "b": "Too"},
    ),
    (
        {
            "$defs": {"A": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}},
            "type": "object",
            "properties": {"b": {"type": "string"}, "again": {"$ref": "#/$defs/A"}},
            "required": ["b", "again"],
            "allOf": [{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/A"}],
        },
        {"b": "Too", "again": {"a": 0}, "a": 0},
    ),
    (
        {"$defs": {"A": {"required": ["a"]}}, "$ref": "#/$defs/A", "properties": {"b": {}}, "required": ["b"]},
        {"b": {}, "a": "Too"},
    ),
    (
        {
            "properties": {"a": {"type": "integer"}},
            "required": ["a"],
            "anyOf": [{"required": ["b"], "properties": {"b": {"const": 2}}}, {"type": "null"}],
        },
        {"a": 0, "b": 2},
    ),
    ({"type": "string", "anyOf": [{"type": "integer"}, {"minLength": 4}]}, "Too small"),
    ({"allOf": [{"enum": ["x", "y"]}, {"enum": ["z", "y"]}]}, "y"),
    ({"allOf": [{"type": "integer", "minimum": 3}, {"type": "number", "minimum": 2}]}, 3),
    ({"allOf": [{"type": ["number", "null"]}, {"type": "integer"}]}, 0),
    ({"type": "integer", "minimum": 5, "exclusiveMinimum": 0}, 5),
    ({"type": "integer", "minimum": 0.5}, 1),
    (PAIR, [0, "Too"]),
    (PAIR | {"minItems": 3, "items": {"type": "boolean"}}, [0, "Too", False]),
    (PAIR | {"minItems": 1, "maxItems": 1}, [0]),
    ({"allOf": [PAIR, {"items": {"type": ["string", "integer"]}, "minItems": 3}]}, [0, "Too", "small"]),
    ({"type": "array", "items": False}, []),
    (TREE, {"name": "Too", "child": None, "others": []}),
]


@pytest.mark.parametrize(("schema", "value"), CASES)
def test_fitting(schema, value):
    assert fitting(schema, TEXT) == value
    jsonschema.validate(value, schema)


def objects(inner):
    """Draw schemas of objects in which each name has one type and all bounds can be met together."""
    lists = st.fixed_dictionaries(
        {"type": st.just("array"), "prefixItems": st.just(PAIR["prefixItems"])},
        optional={"minItems": st.integers(0, 3), "maxItems": st.integers(3, 5)},
    )
    values = {
        "text": st.fixed_dictionaries(
            {"type": st.just("string")}, optional={"minLength": st.integers(0, 9), "maxLength": st.integers(9, 12)}
        ),
        "number": st.fixed_dictionaries(
            {"type": st.sampled_from(["integer", "number"])},
            optional={"minimum": st.integers(-9, 3), "exclusiveMaximum": st.integers(5, 9)},
        ),
        "list": lists,
        "part": inner,
        "enum": st.permutations(["x", "y", "z"]).map(lambda order: {"enum": order}),
    }
    return st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["object", ["null", "object"]]),
            "properties": st.fixed_dictionaries({}, optional=values),
            "required": st.lists(st.sampled_from([*values, "other"]), unique=True),
            "allOf": st.lists(inner, min_size=1, max_size=3),
            "anyOf": st.lists(inner, min_size=1, max_size=3),
            "$ref": st.sampled_from(["#/$defs/A", "#/$defs/B"]),
        },
    )


SCHEMAS = st.recursive(st.just({}), objects, max_leaves=12)
DEFINITIONS = {
    "A": {"properties": {"number": {"type": "integer", "minimum": 2}}, "required": ["number"]},
    "B": {"allOf": [{"$ref": "#/$defs/A"}], "properties": {"part": {"$ref": "#/$defs/A"}}, "required": ["part"]},
}


@settings(max_examples=50, deadline=None)
@given(SCHEMAS)
def test_what_is_filled_fits(schema):
    whole = {"$defs": DEFINITIONS, "type": "object"} | schema
    jsonschema.validate(fitting(whole, TEXT), whole)


@pytest.mark.parametrize("name", FORMATS)
def test_formats_count_more_than_lengths(name):
    assert fitting({"type": "string", "format": name, "minLength": 1}, TEXT) == FORMATS[name]


def test_without_a_word_in_the_prompt_strings_are_filled_all_the_same():
    assert fitting({"type": "string", "minLength": 3}, "?!\n") == "a a"


def doubled(levels):
    """Return a small schema whose value has 2 ** levels parts."""
    parts = {
        f"l{n}": {"properties": {key: {"$ref": f"#/$defs/l{n + 1}"} for key in "ab"}, "required": ["a", "b"]}
        for n in range(levels)
    }
    return {"$defs": parts | {f"l{levels}": {"type": "string"}}, "$ref": "#/$defs/l0"}


def chained(length):
    """Return a schema with a chain of references."""
    links = {f"l{n}": {"items": {"$ref": f"#/$defs/l{n + 1}"}} for n in range(length)}
    return {"$defs": links | {f"l{length}": {"type": "string"}}, "$ref": "#/$defs/l0"}


NOTHING_FITS = [
    False,
    {"allOf": [{"type": "string"}, {"type": "integer"}]},
    {"allOf": [{"enum": [1]}, {"enum": [2]}]},
    {"type": "array", "items": False, "minItems": 1},
    {"$defs": {f"l{n}": {"$ref": f"#/$defs/l{n + 1}"} for n in range(3_000)} | {"l3000": {}}, "$ref": "#/$defs/l0"},
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


def test_a_value_has_a_maximum_of_parts():
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
