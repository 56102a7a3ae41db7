from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from datetime import date
from typing import Any, Literal

import anthropic
import pydantic
import pytest

from django_claude_batches.output_schema import BadSchema, InvalidOutput, OutputSchema, has_structured_output

TAGS = {
    "type": "object",
    "properties": {"tags": {"type": "array", "items": {"type": "string"}}, "score": {"type": "integer", "minimum": 1}},
    "required": ["tags"],
}
RECURSIVE = {
    "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}},
    "$ref": "#/$defs/node",
}
NEWER, OLDER = "claude-haiku-4-5", "claude-3-5-haiku-20241022"


class Opinion(pydantic.BaseModel):
    mood: Literal["good", "bad"]
    seen: date = pydantic.Field(alias="seenOn")
    tags: set[str] = set()


class Person(pydantic.BaseModel):
    """Somebody."""

    name: str = pydantic.Field(min_length=1, description="As in the text.")
    born: date | None = None
    mail: list[pydantic.UUID4] = pydantic.Field(default=[], max_length=3)
    opinion: Opinion
    ratio: float = pydantic.Field(ge=0, le=1)


class Node(pydantic.BaseModel):
    children: list[Node] = []


class Numbers(pydantic.RootModel[list[int]]):
    pass


class TestRead:
    @pytest.mark.parametrize(
        "text",
        [
            '{"tags":["a"]}',
            ' \r\n\t{"tags":["a"]}\n ',
            '```json\n{"tags":["a"]}\n```',
            '\n```JSON\n{"tags":["a"]}```\n',
            '```\n{"tags":["a"]}\n```',
        ],
    )
    def test_what_fits(self, text: str) -> None:
        found = OutputSchema(TAGS).read(text)
        assert found.output == {"tags": ["a"]}
        assert found.parsed is found.output

    def test_a_fence_within_a_text_is_text(self) -> None:
        text = '{"tags": ["```json\\n{}\\n```", "\\u00e9 \\ud83d\\ude00", "a\\u0000b"]}'
        assert OutputSchema(TAGS).read(text).output["tags"] == ["```json\n{}\n```", "é \U0001f600", "a\0b"]

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "not JSON: there is no text"),
            (" \n", "not JSON: there is no text"),
            ("```json\n```", "not JSON: there is no text"),
            ("``````", "not JSON: Expecting value at character 1"),
            ("Here you are: {}", "not JSON: Expecting value at character 1"),
            ('{"tags": []} Anything else?', "not JSON: Extra data at character 14"),
            ('Sure!\n```json\n{"tags": []}\n```', "not JSON: Expecting value at character 1"),
            ('```python\n{"tags": []}\n```', "not JSON: Expecting value at character 1"),
            ('```json\n```json\n{"tags": []}\n```\n```', "not JSON: Expecting value at character 1"),
            ('{"tags": ["a', "not JSON: Unterminated string starting at at character 11"),
            ("{'tags': []}", "not JSON: Expecting property name enclosed in double quotes at character 2"),
            ('{"tags": [], "tags": ["a"]}', "not JSON that can be read: the key 'tags' occurs twice in one object"),
            ('{"tags": [], "score": NaN}', "NaN is not a number that JSON can represent"),
            ('{"tags": [], "score": -Infinity}', "-Infinity is not a number that JSON can represent"),
            ('{"tags": [], "score": 1e999}', "1e999 is not a number that JSON can represent"),
            ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
            ('{"a": 1' + "0" * 5000 + "}", "not JSON that can be read: Exceeds the limit"),
            ("null", "$: None is not of type 'object'"),
            ('{"tags": "a"}', "$.tags: 'a' is not of type 'array'"),
            ('{"tags": ["a", 5]}', "$.tags[1]: 5 is not of type 'string'"),
            ('{"tags": [], "score": 0}', "$.score: 0 is less than the minimum of 1"),
            ("{}", "$: 'tags' is a required property"),
            ('{"tags": 1, "score": "x"}', "$.tags: 1 is not of type 'array'; $.score: 'x' is not of type 'integer'"),
        ],
    )
    def test_what_does_not_fit(self, text: str, said: str) -> None:
        with pytest.raises(InvalidOutput) as caught:
            OutputSchema(TAGS).read(text)
        assert str(caught.value).startswith(said)

    def test_additional_members_fit_unless_the_schema_says_otherwise(self) -> None:
        assert OutputSchema(TAGS).read('{"tags": [], "more": 1}').output["more"] == 1
        with pytest.raises(InvalidOutput, match="Additional properties are not allowed"):
            OutputSchema({**TAGS, "additionalProperties": False}).read('{"tags": [], "more": 1}')

    def test_formats_are_checked(self) -> None:
        schema = OutputSchema({"type": "object", "properties": {"on": {"type": "string", "format": "date"}}})
        assert schema.read('{"on": "2026-11-25"}').output == {"on": "2026-11-25"}
        with pytest.raises(InvalidOutput, match=r"\$\.on: 'tomorrow' is not a 'date'"):
            schema.read('{"on": "tomorrow"}')

    def test_of_alternatives_the_nearest_is_said(self) -> None:
        schema = OutputSchema({"anyOf": [{"type": "null"}, {**TAGS}]})
        with pytest.raises(InvalidOutput, match=r"^\$\.tags\[0\]: 1 is not of type 'string'$"):
            schema.read('{"tags": [1]}')

    def test_what_is_said_is_short_and_in_one_line(self) -> None:
        hostile = "\\u0000\\ud800\\n" + "long " * 10_000
        with pytest.raises(InvalidOutput) as caught:
            OutputSchema({"additionalProperties": {"type": "integer"}}).read(f'{{"{hostile}": "{hostile}"}}')
        said = str(caught.value)
        assert len(said) <= 500
        assert said.isprintable()
        assert said.endswith("is not of type 'integer'")

    def test_many_problems_share_the_room(self) -> None:
        with pytest.raises(InvalidOutput) as caught:
            OutputSchema({"items": {"type": "integer"}}).read(f'["{"a" * 999}", "{"b" * 999}", "{"c" * 999}", "d"]')
        said = str(caught.value)
        assert len(said) <= 500
        assert [said.count(f"$[{index}]:") for index in range(4)] == [1, 1, 1, 0]
        assert said.count("is not of type 'integer'") == 3

    def test_a_recursive_schema_has_its_depth(self) -> None:
        schema = OutputSchema({"$defs": {"n": {"items": {"$ref": "#/$defs/n"}}}, "$ref": "#/$defs/n"})
        assert schema.read("[[[]]]").output == [[[]]]
        with pytest.raises(InvalidOutput, match=r"^nested too deeply$"):
            schema.read("[" * 900 + "]" * 900)

    def test_a_number_that_is_no_float(self) -> None:
        with pytest.raises(InvalidOutput, match="a number cannot be checked: int too large"):
            OutputSchema({"multipleOf": 0.1}).read("1" + "0" * 400)

    def test_another_draft(self) -> None:
        old = {"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "string"}]}
        with pytest.raises(InvalidOutput, match=r"^\$\[0\]: 1 is not of type 'string'$"):
            OutputSchema(old).read("[1]")


class TestModels:
    def test_what_fits(self) -> None:
        found = OutputSchema(Opinion).read('```json\n{"mood": "good", "seenOn": "2026-11-25", "tags": ["a", "a"]}\n```')
        assert found.parsed == Opinion(mood="good", seenOn=date(2026, 11, 25), tags={"a"})
        assert found.output == {"mood": "good", "seenOn": "2026-11-25", "tags": ["a"]}

    def test_what_is_stored_can_be_read_again(self) -> None:
        schema = OutputSchema(Opinion)
        stored = schema.read('{"mood": "bad", "seenOn": "2026-11-25"}').output
        assert Opinion.model_validate(stored).mood == "bad"

    def test_the_model_says_how_strict_it_is(self) -> None:
        class Lax(pydantic.BaseModel):
            on: date
            count: int

        class Strict(Lax, strict=True):
            pass

        assert OutputSchema(Lax).read('{"on": "2026-11-25", "count": "5"}').output["count"] == 5
        assert OutputSchema(Strict).read('{"on": "2026-11-25", "count": 5}').parsed.on == date(2026, 11, 25)
        with pytest.raises(InvalidOutput, match=r"^\$\.count: Input should be a valid integer$"):
            OutputSchema(Strict).read('{"on": "2026-11-25", "count": "5"}')

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "not JSON: there is no text"),
            (
                '{"mood": "good", "mood": "bad", "seenOn": "2026-11-25"}',
                "not JSON that can be read: the key 'mood' occurs twice in one object",
            ),
            ('{"mood": "so", "seenOn": "2026-11-25"}', "$.mood: Input should be 'good' or 'bad'"),
            ('{"mood": "good"}', "$.seenOn: Field required"),
            ('{"mood": "good", "seenOn": "2026-11-25", "tags": ["a", 1]}', "$.tags[1]: Input should be a valid string"),
            ('{"mood": "\\ud800", "seenOn": "2026-11-25"}', "$: Invalid JSON: unexpected end of hex escape"),
            ('{"mood": "\ud800", "seenOn": "2026-11-25"}', "$: Input should be a valid string"),
            ('{"mood": ' + "[" * 900 + "]" * 900 + "}", "$: Invalid JSON: recursion limit exceeded"),
        ],
    )
    def test_what_does_not_fit(self, text: str, said: str) -> None:
        with pytest.raises(InvalidOutput) as caught:
            OutputSchema(Opinion).read(text)
        assert str(caught.value).startswith(said)

    def test_what_a_validator_says(self) -> None:
        class Even(pydantic.BaseModel):
            number: int

            @pydantic.field_validator("number")
            @classmethod
            def is_even(cls, number: int) -> int:
                if number == 0:
                    raise RuntimeError("not the answer's fault")
                if number % 2:
                    raise ValueError(f"{number} is odd")
                return number

        with pytest.raises(InvalidOutput, match=r"^\$\.number: Value error, 3 is odd$"):
            OutputSchema(Even).read('{"number": 3}')
        with pytest.raises(RuntimeError, match="not the answer's fault"):
            OutputSchema(Even).read('{"number": 0}')

    def test_a_root_that_is_no_object(self) -> None:
        found = OutputSchema(Numbers).read("[1, 2]")
        assert found.output == found.parsed.root == [1, 2]


class TestSchema:
    @pytest.mark.parametrize(
        ("schema", "said"),
        [
            ({"type": 5}, r"not a valid JSON Schema: \$\.type: 5 is not valid"),
            ({"type": "text"}, r"not a valid JSON Schema: \$\.type: 'text' is not"),
            ({"properties": {"a": {"pattern": "("}}}, r"not a valid JSON Schema: \$\.properties\.a\.pattern"),
            ({"$schema": "https://json-schema.org/draft/2030/schema"}, "a draft that jsonschema does not support"),
            ({"$schema": []}, "a draft that jsonschema does not support"),
            ({"default": float("nan")}, "output_schema is not JSON"),
            ({"default": date(2026, 11, 25)}, "output_schema is not JSON"),
            ({"$ref": "#/$defs/missing"}, "refers to '#/\\$defs/missing', which is not in it"),
            ({"items": {"$ref": "other.json"}}, "refers to 'other.json', which is not in it"),
            ({"$dynamicRef": "#node"}, "refers to '#node', which is not in it"),
            ([TAGS], "must be a JSON Schema or a pydantic model, not"),
            ("Opinion", "must be a JSON Schema or a pydantic model, not 'Opinion'"),
            (None, "must be a JSON Schema or a pydantic model, not None"),
            (dict, "must be a JSON Schema or a pydantic model, not the class dict"),
        ],
    )
    def test_what_is_none(self, schema: Any, said: str) -> None:
        with pytest.raises(BadSchema, match=said):
            OutputSchema(schema)

    def test_a_model_without_a_json_schema(self) -> None:
        class Handler(pydantic.BaseModel):
            call: Callable[[], None]

        with pytest.raises(BadSchema, match=r"^Handler has no JSON Schema: "):
            OutputSchema(Handler)

    @pytest.mark.parametrize("reference", ["https://schemas.example/tags.json", "http://127.0.0.1:9/tags.json"])
    def test_nothing_is_fetched(self, reference: str, monkeypatch: pytest.MonkeyPatch) -> None:
        tried: list[Any] = []

        def connect(*args: Any, **_kwargs: Any) -> None:
            tried.append(args)
            raise OSError

        monkeypatch.setattr(socket, "getaddrinfo", connect)
        monkeypatch.setattr(socket.socket, "connect", connect)
        for schema in ({"$ref": reference}, {"properties": {"a": {"$ref": reference}}}, {"$dynamicRef": reference}):
            with pytest.raises(BadSchema, match="which is not in it"):
                OutputSchema(schema)
        assert tried == []

    def test_what_looks_like_a_reference_and_is_none(self) -> None:
        assert OutputSchema({"const": {"$ref": "https://schemas.example"}}).read('{"$ref": "https://schemas.example"}')

    def test_a_schema_of_its_own_name(self) -> None:
        named = {
            "$id": "https://schemas.example/a",
            "items": {"$ref": "b"},
            "$defs": {"b": {"$id": "b", "type": "null"}},
        }
        assert OutputSchema(named).read("[null]").output == [None]
        with pytest.raises(InvalidOutput):
            OutputSchema(named).read("[1]")

    @pytest.mark.parametrize(("schema", "package"), [(TAGS, "jsonschema"), (Opinion, "pydantic")])
    def test_a_missing_package_is_named(self, schema: Any, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(BadSchema) as caught:
            OutputSchema(schema)
        command = f'python -m pip install "django-claude-batches[{package}]"'
        assert str(caught.value) == f"output_schema needs {package}: {command}"

    @pytest.mark.parametrize(("schema", "package"), [(TAGS, "pydantic"), (Opinion, "jsonschema")])
    def test_the_other_package_is_not_needed(self, schema: Any, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(InvalidOutput):
            OutputSchema(schema).read("{}")

    def test_a_schema_that_is_changed_later_is_not(self) -> None:
        schema = {"type": "object", "properties": {"a": {"type": "string"}}}
        made = OutputSchema(schema)
        schema["properties"]["a"]["type"] = "null"  # type: ignore[index]
        assert made.read('{"a": "b"}').output == {"a": "b"}
        assert made.wire is not None
        assert made.wire["properties"]["a"] == {"type": "string"}


class TestWire:
    @pytest.mark.parametrize(
        "schema",
        [
            TAGS,
            {"type": "integer", "minimum": 1, "maximum": 10, "description": "A number."},
            {"type": "string", "format": "uuid", "title": "Id"},
            {"type": "string", "pattern": "^#", "maxLength": 7, "format": "color"},
            {"type": "array", "items": {"type": "number"}, "minItems": 1, "maxItems": 3, "uniqueItems": True},
            {"type": "array", "items": {"type": "boolean"}, "minItems": 2},
            {"enum": ["good", "bad", None, 1]},
            {"type": "string", "enum": ["good", "bad"], "default": "bad"},
            {"const": "yes", "description": "Always."},
            {
                "type": "object",
                "properties": {"x": {"const": {"a": 1}, "type": "object", "additionalProperties": False}},
            },
            {"anyOf": [{"type": "null"}, {"type": "string"}], "default": None},
            {"oneOf": [{"type": "null"}, TAGS]},
            {"allOf": [{"type": "integer"}]},
            {"type": "object", "properties": {"x": {"type": "null"}}, "additionalProperties": True, "maxProperties": 1},
            {"type": "object", "properties": {}, "additionalProperties": False},
            {"$ref": "#/$defs/a", "$defs": {"a": {"type": "string", "minLength": 1}}, "description": "Lost."},
            {
                "type": "object",
                "properties": {"one": {"$ref": "#/$defs/tags"}, "$ref": {"type": "null"}},
                "$defs": {"tags": TAGS},
            },
        ],
    )
    def test_is_what_the_sdk_makes(self, schema: dict[str, Any]) -> None:
        assert OutputSchema(schema).wire == anthropic.transform_schema(schema)

    @pytest.mark.parametrize("model", [Opinion, Person, Numbers])
    def test_is_what_the_sdk_makes_of_a_model(self, model: type[pydantic.BaseModel]) -> None:
        assert OutputSchema(model).wire == anthropic.transform_schema(model)

    def test_a_list_of_types(self) -> None:
        schema = {"type": ["string", "null"], "maxLength": 9, "description": "A name."}
        assert OutputSchema(schema).wire == {
            "anyOf": [{"type": "string", "description": "{maxLength: 9}"}, {"type": "null"}],
            "description": "A name.",
        }

    def test_definitions_of_older_drafts(self) -> None:
        schema = {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "$id": "https://schemas.example/a",
            "$comment": "ours",
            "definitions": {"a": {"type": "null"}},
            "type": "array",
            "items": {"$ref": "#/definitions/a"},
        }
        wire = {"$defs": {"a": {"type": "null"}}, "type": "array", "items": {"$ref": "#/$defs/a"}}
        assert OutputSchema(schema).wire == wire

    @pytest.mark.parametrize(
        "schema",
        [
            {},
            {"description": "Anything."},
            {"properties": {"a": {"type": "string"}}},
            {"type": "object"},
            {"type": "object", "additionalProperties": {"type": "integer"}},
            {"type": "object", "properties": {"a": {"type": "null"}}, "additionalProperties": {"type": "null"}},
            {"type": "object", "properties": {"a": {"type": "null"}}, "required": ["b"]},
            {"type": "object", "properties": {"a": True}},
            {"type": "object", "properties": {"a": {"type": "null"}}, "anyOf": [{"required": ["a"]}]},
            {"type": "object", "properties": {"a": {"type": "null"}, "b": {"$ref": "#/properties/a"}}},
            {"type": "array", "items": {"$ref": "#"}},
            {"type": "array", "items": False},
            {"enum": [{"a": 1}]},
            {"$schema": "http://json-schema.org/draft-03/schema#", "type": "object", "required": True},
            RECURSIVE,
            {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "type": "null"},
            Node,
        ],
    )
    def test_what_has_no_words(self, schema: Any) -> None:
        assert OutputSchema(schema).wire is None


class TestAsking:
    PARAMS = {"model": NEWER, "max_tokens": 100, "messages": [{"role": "user", "content": "Tag this."}]}
    FORMAT = {"type": "json_schema", "schema": OutputSchema(TAGS).wire}

    def test_structured_output(self) -> None:
        params = dict(self.PARAMS)
        assert OutputSchema(TAGS).added_to(params) == {**params, "output_config": {"format": self.FORMAT}}
        assert params == self.PARAMS

    def test_other_keys_of_output_config_stay(self) -> None:
        params = {**self.PARAMS, "output_config": {"effort": "low", "format": None}}
        added = OutputSchema(TAGS).added_to(params)
        assert added["output_config"] == {"effort": "low", "format": self.FORMAT}
        assert params["output_config"] == {"effort": "low", "format": None}

    @pytest.mark.parametrize("model", [NEWER, OLDER])
    @pytest.mark.parametrize("config", [{"format": {"type": "json_schema", "schema": {"type": "null"}}}, "nonsense"])
    def test_what_is_given_is_not_overwritten(self, model: str, config: Any) -> None:
        params = {**self.PARAMS, "model": model, "output_config": config}
        assert OutputSchema(TAGS).added_to(params) == params

    @pytest.mark.parametrize(("schema", "model"), [(TAGS, OLDER), (RECURSIVE, NEWER), (Node, NEWER)])
    def test_an_instruction(self, schema: Any, model: str) -> None:
        params = {**self.PARAMS, "model": model, "output_config": {"effort": "low"}}
        added = OutputSchema(schema).added_to(params)
        assert added.pop("system") == OutputSchema(schema).instruction
        assert added == params

    @pytest.mark.parametrize(("model", "said"), [(TAGS, '"minimum": 1'), (Opinion, '"seenOn"')])
    def test_the_instruction_has_the_whole_schema(self, model: Any, said: str) -> None:
        instruction = OutputSchema(model).instruction
        assert instruction.startswith("Answer with JSON only")
        assert said in instruction

    def test_an_instruction_behind_what_is_there(self) -> None:
        schema = OutputSchema(TAGS)
        blocks = [{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}]
        params = {**self.PARAMS, "model": OLDER}
        assert schema.added_to({**params, "system": "Be kind."})["system"] == f"Be kind.\n\n{schema.instruction}"
        for nothing in (None, ""):
            assert schema.added_to({**params, "system": nothing})["system"] == schema.instruction
        added = schema.added_to({**params, "system": blocks})
        assert added["system"] == [*blocks, {"type": "text", "text": schema.instruction}]
        assert len(blocks) == 1


@pytest.mark.parametrize(
    ("model", "has"),
    [
        ("claude-haiku-4-5", True),
        ("claude-haiku-4-5-20251001", True),
        ("claude-sonnet-4-5-20250929", True),
        ("claude-opus-4-6", True),
        ("claude-opus-4-10", True),
        ("claude-fable-5", True),
        ("claude-fable-5-2", True),
        ("claude-sonnet-5-20270101", True),
        ("claude-haiku-5-5", True),
        ("claude-mythos-preview", True),
        ("anthropic/claude-opus-5", True),
        ("us.anthropic.claude-opus-4-6-v1:0", True),
        ("our-gateways-name", True),
        ("None", True),
        ("claude-opus-4-1-20250805", False),
        ("claude-opus-4-1", False),
        ("claude-opus-4-0", False),
        ("claude-opus-4-20250514", False),
        ("claude-sonnet-4@20250514", False),
        ("claude-3-7-sonnet-latest", False),
        ("claude-3-5-haiku-20241022", False),
        ("anthropic.claude-3-haiku-20240307-v1:0", False),
        ("claude-2.1", False),
        ("claude-instant-1.2", False),
        ("claude-v1.3", False),
    ],
)
def test_which_models_have_structured_output(model: str, has: bool) -> None:
    assert has_structured_output(model) is has


def test_all_models_of_the_sdk_have_it() -> None:
    models = anthropic.types.Model.__args__[0].__args__  # type: ignore[attr-defined]
    assert [model for model in models if not has_structured_output(model)] == []
