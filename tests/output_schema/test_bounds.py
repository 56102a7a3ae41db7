"""What an answer may cost to check: any may come, and none takes a worker's time, or memory, without end."""

from __future__ import annotations

import json
import re
import time
import tracemalloc
from functools import reduce
from typing import Annotated, Any, Literal

import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from django_claude_batches.output_schema import BadSchema, InvalidOutput, OutputSchema
from django_claude_batches.output_schema.jsonschema_bounds import MAX_FORMATTED, MAX_UNEVALUATED
from django_claude_batches.output_schema.jsonschema_validator import JsonSchemaChecker
from tests.harness.selections import slow_but

DRAFT = "https://json-schema.org/draft/2020-12/schema"
BACKTRACKING = "^(a|aa)+$"
HOSTILE = "a" * 60 + "!"
BRANCHING = {
    "$defs": {"node": {"ALTERNATIVES": [{"items": {"$ref": "#/$defs/node"}}, {"items": {"$ref": "#/$defs/node"}}]}},
    "$ref": "#/$defs/node",
}


def check(schema: dict[str, Any], value: Any, seconds: float = 0.05) -> None:
    JsonSchemaChecker(schema, seconds=seconds).check(json.dumps(value), value)


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _level in range(depth):
        value = [value]
    return value


def branching(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(BRANCHING).replace("ALTERNATIVES", name))
    found["$defs"]["node"]["maxItems"] = 1
    return found


@pytest.mark.parametrize(
    ("schema", "value"),
    slow_but(
        2,
        [
            ({"pattern": BACKTRACKING}, HOSTILE),
            ({"patternProperties": {BACKTRACKING: {"type": "null"}}}, {HOSTILE: 1}),
            ({"patternProperties": {BACKTRACKING: True}, "additionalProperties": False}, {HOSTILE: 1}),
            ({"propertyNames": {"pattern": BACKTRACKING}}, {HOSTILE: 1}),
            ({"contains": {"pattern": BACKTRACKING}}, [HOSTILE]),
            # A `$schema` in what is referred to chooses the keywords of jsonschema, which would search with `re`.
            (
                {"$schema": DRAFT, "items": {"$ref": "#"}, "pattern": BACKTRACKING},
                [HOSTILE],
            ),
            ({"$schema": "http://json-schema.org/draft-07/schema#", "pattern": BACKTRACKING}, HOSTILE),
            (branching("oneOf"), nested(40)),
            ({"not": {"not": branching("oneOf")["$defs"]["node"]}, **branching("oneOf")}, nested(40)),
        ],
    ),
)
def test_a_check_that_takes_too_long_makes_the_answer_invalid(schema: dict[str, Any], value: Any) -> None:
    with pytest.raises(
        InvalidOutput, match=r"^cannot be checked: validation by the schema takes more than 0\.05\d? s$"
    ):
        check(schema, value)


def test_the_next_answer_is_checked_as_ever() -> None:
    schema = JsonSchemaChecker({"pattern": BACKTRACKING}, seconds=0.05)
    with pytest.raises(InvalidOutput, match="takes more than"):
        schema.check(f'"{HOSTILE}"', HOSTILE)
    assert schema.check('"aaa"', "aaa").output == "aaa"
    with pytest.raises(InvalidOutput, match=r"^\$: 'aab' does not match '\^\(a\|aa\)\+\$'$"):
        schema.check('"aab"', "aab")


def test_a_longer_answer_has_more_time() -> None:
    items = [{"n": number} for number in range(2000)]
    check({"items": {"properties": {"n": {"type": "integer"}}}}, items, seconds=0)


@pytest.mark.parametrize("item", [lambda n: {"a": n}, lambda n: [n, "a"], lambda n: n * (2**61 - 1)])
def test_unique_items_cost_is_linear(item: Any) -> None:
    def seconds(count: int) -> float:
        values, schema = [item(number) for number in range(count)], JsonSchemaChecker({"uniqueItems": True})
        taken = []
        for _round in range(3):
            began = time.thread_time()
            schema.check("", values)
            taken.append(time.thread_time() - began)
        return min(taken)

    assert seconds(4000) < 8 * seconds(1000)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.0, -0.0, 1.0, 1.5, 1e23, 10**23, "a", "1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=6,
)
SCHEMAS = [
    {"uniqueItems": True},
    {
        "anyOf": [
            {"type": "null"},
            {"items": {"type": "string"}, "type": "array"},
            {"required": ["a"], "type": "object"},
        ]
    },
    {"oneOf": [{"type": "array"}, {"items": {"type": "number"}}, {"properties": {"a": {"type": "string"}}}]},
    {"anyOf": [{"oneOf": [{"type": "string"}, {"items": {"const": 1}, "type": "array"}]}, {"maxProperties": 0}]},
    {"patternProperties": {"a": {"type": "string"}}, "additionalProperties": {"type": "integer"}},
    {"properties": {"a": True}, "patternProperties": {"b": {"enum": [1, "1"]}}, "additionalProperties": False},
]


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(VALUES, st.sampled_from(SCHEMAS))
def test_verdicts_are_those_of_jsonschema(value: Any, schema: dict[str, Any]) -> None:
    error = best_match(Draft202012Validator(schema).iter_errors(value))
    said = refusal(schema, value)
    assert (error is None) == (said == "")
    if error is not None and "additionalProperties" not in schema and "under each" not in said:  # in other words
        assert said.split("; ")[0] == f"{error.json_path}: {error.message}"


def refusal(schema: dict[str, Any], value: Any) -> str:
    try:
        check(schema, value, seconds=2)
    except InvalidOutput as error:
        return str(error)
    return ""


def test_an_error_is_not_kept_at_each_level() -> None:
    value: Any = ["x" * 100_000]
    for _level in range(50):
        value = [value]
    node = {"anyOf": [{"type": "null"}, {"items": {"$ref": "#/$defs/node"}, "type": "array"}]}
    schema = JsonSchemaChecker({"$defs": {"node": node}, "$ref": "#/$defs/node"})
    tracemalloc.start()
    try:
        with pytest.raises(InvalidOutput, match="not valid under any"):
            schema.check("", value)
        assert tracemalloc.get_traced_memory()[1] < 1_500_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"unevaluatedProperties": False}, {str(number): 0 for number in range(MAX_UNEVALUATED + 1)}),
        ({"unevaluatedItems": False}, [0] * (MAX_UNEVALUATED + 1)),
    ],
)
def test_what_jsonschema_is_quadratic_in_has_a_bound(schema: dict[str, Any], value: Any) -> None:
    with pytest.raises(InvalidOutput, match="cannot be checked: it has 2,001 members, and unevaluated"):
        check(schema, value)


def test_a_format_is_not_looked_for_in_a_long_text() -> None:
    text = "1" * MAX_FORMATTED
    with pytest.raises(InvalidOutput, match=r"1' is not a 'date'$"):
        check({"format": "date"}, text)
    with pytest.raises(InvalidOutput, match="1' is not a 'date': it has more than 2,000 characters"):
        check({"format": "date"}, text + "1")
    check({"format": "no such format"}, text + "1")


def test_patterns_beside_unevaluated_properties_are_refused() -> None:
    both = {"items": {"patternProperties": {"a": True}}, "unevaluatedProperties": False}
    with pytest.raises(BadSchema, match="both unevaluatedProperties and patternProperties"):
        OutputSchema(both)
    assert OutputSchema({"properties": {"patternProperties": True, "pattern": True}, "unevaluatedProperties": False})


@pytest.mark.filterwarnings("ignore:Possible nested set")
def test_a_pattern_that_regex_does_not_take_is_refused() -> None:
    with pytest.raises(BadSchema, match="a pattern that cannot be used: '"):
        OutputSchema({"patternProperties": {"[[:foo:]]": True}})


class Code(pydantic.BaseModel):
    code: str = pydantic.Field(pattern="^[a-z]+$")


class Searched(Code, regex_engine="python-re"):
    pass


class Compiled(pydantic.BaseModel):
    code: str = pydantic.Field(pattern=re.compile("^[a-z]+$"))


class Within(pydantic.BaseModel):
    codes: list[Searched | None]


@pytest.mark.parametrize("model", [Searched, Compiled, Within])
def test_patterns_of_a_model_that_python_searches_for_are_named(model: type[pydantic.BaseModel]) -> None:
    (said,) = OutputSchema(model).warnings
    assert said.startswith(f"{model.__name__} has patterns that are searched for with Python's re")


@pytest.mark.parametrize("schema", [Code, {"pattern": BACKTRACKING}])
def test_other_patterns_are_not(schema: Any) -> None:
    assert OutputSchema(schema).warnings == []


class Numbers(pydantic.BaseModel):
    numbers: list[int]


def test_a_model_lists_no_more_errors_than_fit_into_memory() -> None:
    with pytest.raises(InvalidOutput, match=r"^it has 1,001 errors$"):
        OutputSchema(Numbers).read(json.dumps({"numbers": ["x"] * 1001}))


class And(pydantic.BaseModel):
    both: list[And | Or] | None = None


class Or(pydantic.BaseModel):
    either: And | Or | None = None
    both: list[And | Or] | None = None


class Pile(pydantic.RootModel["list[Pile] | tuple[Pile, ...] | int"]):
    pass


class Query(pydantic.BaseModel):
    where: Or


def nested_models(levels: int, key: str = "either") -> Any:
    value: Any = "no model"
    for _level in range(levels):
        value = {key: value} if key == "either" else {key: [value]}
    return value


class Alpha(pydantic.BaseModel):
    child: Outer | None = None


class Beta(pydantic.BaseModel):
    child: Outer | None = None


Inner = Annotated[Alpha | Beta, pydantic.Field(description="One.")]


class Gamma(pydantic.BaseModel):
    child: Outer | None = None


Outer = Inner | Annotated[Gamma | str, pydantic.Field(description="Another.")]
for _model in (Alpha, Beta, Gamma):
    _model.model_rebuild()


class Para(pydantic.BaseModel):
    text: str


class Items(pydantic.BaseModel):
    items: list[Block]


class Quote(pydantic.BaseModel):
    blocks: list[Block]


Block = Para | Items | Quote
Items.model_rebuild()
Quote.model_rebuild()

UNIONS = [
    (Alpha, lambda levels: reduce(lambda value, _level: {"child": value}, range(levels), 7)),
    (Or, lambda levels: nested_models(levels, "both")),
    (Pile, nested),
    (Query, lambda levels: {"where": nested_models(levels, "both")}),
]


@pytest.mark.parametrize(("model", "answer"), slow_but(2, UNIONS))
def test_a_union_that_contains_itself(model: type[pydantic.BaseModel], answer: Any) -> None:
    schema = OutputSchema(model)
    (said,) = schema.warnings
    assert said.startswith(f"{model.__name__} has a union of models that contain this union again")
    begun = time.process_time()
    with pytest.raises(InvalidOutput, match=r"too many levels for a union that contains itself"):
        schema.read(json.dumps(answer(60)))
    assert time.process_time() - begun < 1, "of hours"


def test_levels_that_only_one_choice_goes_on_with_are_read() -> None:
    assert OutputSchema(Or).read(json.dumps(nested_models(60))).parsed


def test_deep_answers_of_a_union_that_contains_itself_are_read() -> None:
    depth_5 = json.dumps({"both": []})
    for _level in range(5):
        depth_5 = f'{{"both": [{depth_5}, {depth_5}]}}'
    assert OutputSchema(And).read(depth_5).output["both"]


def test_a_wide_answer_of_such_a_union_is_read() -> None:
    """Of its choices only one has the field that goes on."""
    paragraphs = [{"text": "x" * 20}] * 30
    answer = {"items": [{"blocks": [{"items": [{"blocks": paragraphs}] * 5}] * 5}] * 5}
    assert OutputSchema(Items).read(json.dumps(answer)).parsed


class Tree(pydantic.BaseModel):
    kind: Literal["tree"] = "tree"
    child: Tree | int | None = None
    children: list[Tree] | dict[str, int] = []


class Leaf(pydantic.BaseModel):
    kind: Literal["leaf"] = "leaf"
    one: Tree | Leaf | None = pydantic.Field(default=None, discriminator="kind")


@pytest.mark.parametrize("model", [Tree, Leaf])
def test_what_takes_linear_time_has_any_number_of_levels(model: type[pydantic.BaseModel]) -> None:
    schema = OutputSchema(model)
    assert schema.warnings == []
    value = {"kind": "tree", "child": 1} if model is Tree else {"kind": "leaf", "one": None}
    for _level in range(60):
        value = {**value, "child" if model is Tree else "one": value}
    assert schema.read(json.dumps(value)).parsed
