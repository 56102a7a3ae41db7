"""Params of a shape that no model accepts (docs/reference/wire.md §6.1)."""

from __future__ import annotations

import typing

import pytest
from anthropic.types.beta.beta_content_block_param import BetaContentBlockParam
from hypothesis import given, settings
from hypothesis import strategies as st

from django_claude_batches.testing.emulator.validation.params import Failure, Terms, judge
from django_claude_batches.testing.emulator.validation.params_types import BLOCKS
from tests.testing.caller import params

OLD = Terms("2023-06-01")
TOOL = {"name": "tag", "input_schema": {"type": "object"}}
MCP = {"type": "url", "url": "https://mcp.example.com", "name": "x"}
EPHEMERAL = {"type": "ephemeral"}
ASKED = {"role": "user", "content": "Hello"}
PNG = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}


def of_blocks(*blocks, role="user"):
    return {"messages": [ASKED, {"role": "assistant", "content": "Hi"}, {"role": role, "content": list(blocks)}]}


def form(schema):
    return {"output_config": {"format": {"type": "json_schema", "schema": schema}}}


def use(name="toolu_1"):
    return {"type": "tool_use", "id": name, "name": "tag", "input": {}}


def result(name="toolu_1"):
    return {"type": "tool_result", "tool_use_id": name, "content": "done"}


AT = "messages.2.content.0"
WRONG = [
    (of_blocks({"type": "hologram"}), f"{AT}: Input tag 'hologram' found using 'type' does not match any of the"),
    (of_blocks({"text": "Hello"}), f"{AT}.type: Field required"),
    (of_blocks("Hello"), f"{AT}: Input should be a valid dictionary"),
    (of_blocks({"type": "text"}), f"{AT}.text.text: Field required"),
    (of_blocks({"type": "text", "text": 5}), f"{AT}.text.text: Input should be a valid string"),
    (of_blocks({"type": "text", "text": ""}), "messages: text content blocks must be non-empty"),
    (of_blocks(), "messages.2: all messages must have non-empty content except for the optional final assistant"),
    ({"messages": [{"role": "user", "content": ""}]}, "messages.0: all messages must have non-empty content except"),
    (of_blocks({"type": "image"}), f"{AT}.image.source: Field required"),
    (of_blocks({"type": "image", "source": {"type": "url"}}), f"{AT}.image.source.url.url: Field required"),
    (of_blocks({"type": "image", "source": {"type": "x"}}), f"{AT}.image.source: Input tag 'x' found using 'type'"),
    (
        of_blocks({"type": "image", "source": PNG | {"media_type": "image/tiff"}}),
        f"{AT}.image.source.base64.media_type: Input should be 'image/jpeg' or 'image/png' or 'image/gif' or",
    ),
    (of_blocks({"type": "document", "source": "x"}), f"{AT}.document.source: Input should be a valid dictionary"),
    (of_blocks(result("toolu_9")), "messages.2: unexpected `tool_use_id` found in `tool_result` blocks: toolu_9. Each"),
    (
        {"messages": [ASKED, {"role": "assistant", "content": [use()]}, ASKED]},
        "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: toolu_1. Each",
    ),
    ({"system": 5}, "system: Input should be a valid list"),
    ({"system": ["x"]}, "system.0: Input should be a valid dictionary"),
    ({"system": [{"type": "image", "text": "x"}]}, "system.0.type: Input should be 'text'"),
    ({"system": [{"type": "text", "text": ""}]}, "system: text content blocks must be non-empty"),
    ({"metadata": {"foo": "x"}}, "metadata.foo: Extra inputs are not permitted"),
    ({"metadata": {"user_id": 5}}, "metadata.user_id: Input should be a valid string"),
    ({"metadata": []}, "metadata: Input should be a valid dictionary"),
    ({"stop_sequences": "x"}, "stop_sequences: Input should be a valid list"),
    ({"stop_sequences": [5]}, "stop_sequences.0: Input should be a valid string"),
    ({"service_tier": "batch"}, "service_tier: Input should be 'auto' or 'standard_only'"),
    ({"speed": "slow"}, "speed: Input should be 'standard' or 'fast'"),
    ({"inference_geo": 5}, "inference_geo: Input should be a valid string"),
    ({"temperature": 1.5}, "temperature: range: 0..1"),
    ({"temperature": "warm"}, "temperature: Input should be a valid number"),
    ({"top_p": -1}, "top_p: range: 0..1"),
    ({"top_k": 0.5}, "top_k: Input should be a valid integer"),
    ({"thinking": {}}, "thinking.type: Field required"),
    ({"thinking": {"type": "deep"}}, "thinking: Input tag 'deep' found using 'type' does not match any of the"),
    ({"thinking": {"type": "enabled"}}, "thinking.enabled.budget_tokens: Field required"),
    (
        {"thinking": {"type": "enabled", "budget_tokens": 1023}, "max_tokens": 4096},
        "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
    ),
    (
        {"thinking": {"type": "enabled", "budget_tokens": 2048}, "max_tokens": 2048},
        "`max_tokens` must be greater than `thinking.budget_tokens`.",
    ),
    (
        {
            "thinking": {"type": "enabled", "budget_tokens": 1024},
            "max_tokens": 2048,
            "tools": [TOOL],
            "tool_choice": {"type": "any"},
        },
        "Thinking may not be enabled when tool_choice forces tool use.",
    ),
    ({"tools": {}}, "tools: Input should be a valid list"),
    ({"tools": [5]}, "tools.0: Input should be a valid dictionary"),
    ({"tools": [{"name": "tag"}]}, "tools.0.custom.input_schema: Field required"),
    ({"tools": [{"input_schema": {"type": "object"}}]}, "tools.0.custom.name: Field required"),
    (
        {"tools": [TOOL | {"name": "a tag"}]},
        "tools.0.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'",
    ),
    ({"tools": [TOOL | {"input_schema": {}}]}, "tools.0.custom.input_schema.type: Field required"),
    (
        {"tools": [TOOL | {"input_schema": {"type": "array"}}]},
        "tools.0.custom.input_schema.type: Input should be 'object'",
    ),
    ({"tools": [TOOL | {"description": 5}]}, "tools.0.custom.description: Input should be a valid string"),
    ({"tools": [TOOL, TOOL]}, "tools: Tool names must be unique."),
    (
        {"tools": [TOOL | {"strict": True, "input_schema": {"type": "object", "items": {"$ref": "#"}}}]},
        "tools.0.custom.input_schema: Circular reference detected in schema definitions: # -> #. Self-referencing",
    ),
    ({"tool_choice": {"type": "auto"}}, "tool_choice: may only be specified while providing tools"),
    ({"tool_choice": {"type": "any"}, "tools": []}, "tool_choice: may only be specified while providing tools"),
    ({"tool_choice": "any", "tools": [TOOL]}, "tool_choice: Input should be a valid dictionary"),
    ({"tool_choice": {"type": "tool"}, "tools": [TOOL]}, "tool_choice.tool.name: Field required"),
    (
        {"tool_choice": {"type": "tool", "name": "x"}, "tools": [TOOL]},
        "tool_choice: Tool 'x' not found in provided tools",
    ),
    ({"tool_choice": {"type": "must"}, "tools": [TOOL]}, "tool_choice: Input tag 'must' found using 'type'"),
    (
        {"cache_control": {"type": "ephemeral", "ttl": "2h"}},
        "cache_control.ephemeral.ttl: Input should be '5m' or '1h'",
    ),
    (
        of_blocks({"type": "text", "text": "x", "cache_control": EPHEMERAL | {"ttl": "2h"}}),
        f"{AT}.text.cache_control.ephemeral.ttl: Input should be '5m' or '1h'",
    ),
    ({"cache_control": {"type": "lasting"}}, "cache_control: Input tag 'lasting' found using 'type'"),
    (
        of_blocks(*({"type": "text", "text": "x", "cache_control": EPHEMERAL} for _ in range(5))),
        "A maximum of 4 blocks with cache_control may be provided. Found 5.",
    ),
    (
        of_blocks(*({"type": "text", "text": "x", "cache_control": EPHEMERAL} for _ in range(3)))
        | {"tools": [TOOL | {"cache_control": EPHEMERAL}]}
        | {"system": [{"type": "text", "text": "x", "cache_control": EPHEMERAL}]},
        "A maximum of 4 blocks with cache_control may be provided. Found 5.",
    ),
    ({"output_config": []}, "output_config: Input should be a valid dictionary"),
    ({"output_config": {"effort": "huge"}}, "output_config.effort: Input should be 'low' or 'medium' or 'high' or"),
    ({"output_config": {"format": []}}, "output_config.format: Input should be a valid dictionary"),
    ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema: Field required"),
    (form([]), "output_config.format.schema: Input should be a valid dictionary"),
    (form({"enum": []}), "output_config.format.schema: enum: List should have at least 1 item after validation, not 0"),
    (form({"$ref": "#/$defs/Nope"}), "output_config.format.schema: Unable to resolve reference '#/$defs/Nope'"),
    (form({"items": {"$ref": "#"}}), "output_config.format.schema: Circular reference detected in schema definitions:"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG, ids=[message[:60] for _, message in WRONG])
def test_wrong_shapes(changes, message):
    failure = judge(params() | changes, OLD)
    assert failure is not None
    assert failure.type == "invalid_request_error"
    assert failure.message.startswith(message)


@pytest.mark.parametrize(
    "changes",
    [
        dict.fromkeys(("system", "metadata", "stop_sequences", "thinking", "tools", "output_config")),
        of_blocks({"type": "image", "source": PNG}, {"type": "text", "text": "What is it?"}),
        of_blocks(role="assistant"),
        # Consecutive messages of one role are one turn.
        {
            "messages": [
                ASKED,
                {"role": "assistant", "content": [use(), use("toolu_2")]},
                {"role": "user", "content": [result()]},
                {"role": "user", "content": [result("toolu_2")]},
            ]
        },
        {"tools": [TOOL, {"type": "web_search_20260318", "name": "web_search"}], "tool_choice": {"type": "any"}},
        {"tools": [{"type": "mcp_toolset", "mcp_server_name": "x"}], "tool_choice": {"type": "tool", "name": "of_mcp"}},
        {"mcp_servers": [MCP], "tool_choice": {"type": "auto"}},
        {"mcp_servers": [MCP], "tools": [TOOL], "tool_choice": {"type": "tool", "name": "of_mcp"}},
        {"tools": [TOOL | {"input_schema": {"type": "object", "items": {"$ref": "#"}}}]},
        {"metadata": {"user_id": "x"}, "stop_sequences": ["x"], "service_tier": "auto", "temperature": 0, "top_k": 3},
        {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 1025},
        {"cache_control": EPHEMERAL | {"ttl": "1h"}, "output_config": {"effort": "max", "task_budget": {}}},
    ],
)
def test_shapes_that_are_taken(changes):
    assert judge(params() | changes, OLD) is None


def test_a_budget_may_exceed_max_tokens_where_thinking_is_interleaved():
    terms = Terms("2023-06-01", ("interleaved-thinking-2025-05-14",))
    assert judge(params(thinking={"type": "enabled", "budget_tokens": 2048}, max_tokens=1024), terms) is None


def test_the_blocks_are_those_of_the_sdks_types():
    # The types of requests; the union also accepts the classes of responses, of the same types.
    blocks = [block for block in typing.get_args(BetaContentBlockParam) if hasattr(block, "__required_keys__")]
    kinds = {typing.get_args(typing.get_type_hints(block)["type"])[0] for block in blocks}
    assert kinds == BLOCKS.keys()


KEYS = [
    *("type", "text", "source", "content", "input", "id", "name", "tool_use_id", "cache_control", "ttl", "role"),
    *("input_schema", "strict", "format", "schema", "enum", "$ref", "items", "properties", "anyOf"),
    *("budget_tokens", "user_id", "effort"),
]
MEMBERS = [
    *("messages", "system", "tools", "tool_choice", "thinking", "output_config", "metadata", "stop_sequences"),
    *("cache_control", "temperature"),
]
ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.sampled_from(MEMBERS), ODD, max_size=3))
def test_no_json_value_raises(changes):
    assert isinstance(judge(params() | changes, OLD), Failure | None)
