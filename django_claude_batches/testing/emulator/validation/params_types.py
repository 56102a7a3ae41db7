"""Shapes of `params` that no model accepts, by the SDK's types and the documentation (`docs/reference/wire.md` §6.1).

Null is accepted everywhere, since it is not fully known which members may be null, and so are members not named here.
Paths and texts are the API's if that section names a source; the others are inferred from pydantic, which the API uses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any

from . import schemas

Complaints = Iterator[str]

TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}", re.ASCII)
MAX_BREAKPOINTS = 4
MIN_BUDGET = 1024

# Content blocks of the SDK's types, including betas, with their required members; none for those that Claude makes.
BLOCKS: dict[str, tuple[str, ...]] = {
    "advisor_tool_result": (),
    "bash_code_execution_tool_result": (),
    "code_execution_tool_result": (),
    "compaction": (),
    "container_upload": ("file_id",),
    "document": ("source",),
    "fallback": (),
    "image": ("source",),
    "mcp_tool_listing": (),
    "mcp_tool_result": (),
    "mcp_tool_use": (),
    "redacted_thinking": ("data",),
    "search_result": ("content", "source", "title"),
    "server_tool_use": ("id", "input", "name"),
    "text": ("text",),
    "text_editor_code_execution_tool_result": (),
    "thinking": ("signature", "thinking"),
    "tool_addition": (),
    "tool_removal": (),
    "tool_result": ("tool_use_id",),
    "tool_search_tool_result": (),
    "tool_use": ("id", "input", "name"),
    "web_fetch_tool_result": (),
    "web_search_tool_result": (),
}

SOURCES = {
    "image": {"base64": ("data", "media_type"), "file": ("file_id",), "url": ("url",)},
    "document": {
        "base64": ("data", "media_type"),
        "content": ("content",),
        "file": ("file_id",),
        "text": ("data", "media_type"),
        "url": ("url",),
    },
}
IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")


def complaints(params: dict[str, Any], betas: tuple[str, ...]) -> Complaints:
    """Yield what is wrong, except in required members and in the form of each message, which were checked before."""
    is_plain = all(isinstance(message["content"], str) for message in params["messages"])
    for key, value in params.items():
        if key in CHECKS and value is not None:
            yield from CHECKS[key](value, key)
            is_plain = False
    if is_plain:
        return  # most requests of a large batch have nothing else to check
    yield from _of_tool_results(params["messages"])
    yield from _together(params, betas)
    breakpoints = sum(_breakpoints(params.get(key)) for key in ("system", "tools", "messages"))
    if breakpoints > MAX_BREAKPOINTS:
        yield f"A maximum of {MAX_BREAKPOINTS} blocks with cache_control may be provided. Found {breakpoints}."


def of_content(content: Any, *, at: str, is_optional: bool) -> Complaints:
    """Yield what is wrong with a message's content. It may be empty if it `is_optional`."""
    if not isinstance(content, str | list):
        yield f"{at}.content: Input should be a valid list"
    if not content and not is_optional:
        yield f"{at}: all messages must have non-empty content except for the optional final assistant message"
    if isinstance(content, list):
        for position, block in enumerate(content):
            yield from _block(block, f"{at}.content.{position}")


def _of_tool_results(messages: list[Any]) -> Complaints:
    """Yield tool uses without a result in the next turn, and results without a tool use in the turn before.

    Consecutive messages of one role are one turn.
    """
    asked: set[str] = set()
    turns = groupby(
        ((at, each) for at, each in enumerate(messages) if each["role"] != "system"), lambda at: at[1]["role"]
    )
    for _, turn in turns:
        places = list(turn)
        position = places[0][0]
        blocks = [block for _, each in places if isinstance(each["content"], list) for block in each["content"]]
        given = {block["tool_use_id"] for block in blocks if block["type"] == "tool_result"}
        if missing := sorted(asked - given):
            yield (
                f"messages.{position - 1}: `tool_use` ids were found without `tool_result` blocks immediately after: "
                f"{', '.join(missing)}. Each `tool_use` block must have a corresponding `tool_result` block in the "
                "next message."
            )
        if unexpected := sorted(given - asked):
            yield (
                f"messages.{position}: unexpected `tool_use_id` found in `tool_result` blocks: {unexpected[0]}. Each "
                "`tool_result` block must have a corresponding `tool_use` block in the previous message."
            )
        asked = {block["id"] for block in blocks if block["type"] == "tool_use"}


def _block(block: Any, at: str) -> Complaints:
    yield from dictionary(block, at)
    yield from _tagged(block, at, BLOCKS)
    kind = block["type"]
    inner = f"{at}.{kind}"
    yield from required(block, inner, BLOCKS[kind])
    if kind == "text":
        yield from _text(block, inner)
    elif kind in SOURCES:
        yield from _source(block["source"], f"{inner}.source", kind)
    elif kind in ("tool_use", "server_tool_use"):
        yield from dictionary(block["input"], f"{inner}.input")
        yield from string(block["id"], f"{inner}.id")
    elif kind == "tool_result":
        yield from string(block["tool_use_id"], f"{inner}.tool_use_id")
    yield from _cache_control(block.get("cache_control"), f"{inner}.cache_control")


def _text(block: dict[str, Any], at: str) -> Complaints:
    yield from string(block["text"], f"{at}.text")
    if not block["text"]:
        yield f"{at.partition('.')[0]}: text content blocks must be non-empty"


def _source(source: Any, at: str, kind: str) -> Complaints:
    yield from dictionary(source, at)
    yield from _tagged(source, at, SOURCES[kind])
    inner = f"{at}.{source['type']}"
    yield from required(source, inner, SOURCES[kind][source["type"]])
    if kind == "image" and source["type"] == "base64":
        yield from _one_of(source["media_type"], f"{inner}.media_type", IMAGES)


def _system(value: Any, at: str) -> Complaints:
    if isinstance(value, str):
        return
    yield from array(value, at)
    for position, block in enumerate(value):
        inner = f"{at}.{position}"
        yield from dictionary(block, inner)
        yield from required(block, inner, ("text", "type"))
        yield from _one_of(block["type"], f"{inner}.type", ("text",))
        yield from _text(block, inner)
        yield from _cache_control(block.get("cache_control"), f"{inner}.cache_control")


def _metadata(value: Any, at: str) -> Complaints:
    yield from dictionary(value, at)
    for key in value:
        if key != "user_id":
            yield f"{at}.{key}: Extra inputs are not permitted"
    if value.get("user_id") is not None:
        yield from string(value["user_id"], f"{at}.user_id")


def _stop_sequences(value: Any, at: str) -> Complaints:
    yield from array(value, at)
    for position, each in enumerate(value):
        yield from string(each, f"{at}.{position}")


def _thinking(value: Any, at: str) -> Complaints:
    yield from dictionary(value, at)
    yield from _tagged(value, at, ("adaptive", "between_tools", "disabled", "enabled"))
    if value["type"] == "enabled":
        yield from required(value, f"{at}.enabled", ("budget_tokens",))
        yield from integer(value["budget_tokens"], f"{at}.enabled.budget_tokens")
        if value["budget_tokens"] < MIN_BUDGET:
            yield f"{at}.enabled.budget_tokens: Input should be greater than or equal to {MIN_BUDGET}"


def _tools(value: Any, at: str) -> Complaints:
    yield from array(value, at)
    for position, tool in enumerate(value):
        yield from dictionary(tool, f"{at}.{position}")
        kind = tool.get("type") or "custom"
        yield from string(kind, f"{at}.{position}.type")
        if kind == "custom":
            yield from _custom_tool(tool, f"{at}.{position}.custom")
        yield from _cache_control(tool.get("cache_control"), f"{at}.{position}.{kind}.cache_control")
    names = [tool["name"] for tool in value if isinstance(tool.get("name"), str)]
    if len(set(names)) < len(names):
        yield f"{at}: Tool names must be unique."


def _custom_tool(tool: dict[str, Any], at: str) -> Complaints:
    yield from required(tool, at, ("name", "input_schema"))
    yield from string(tool["name"], f"{at}.name")
    if not TOOL_NAME.fullmatch(tool["name"]):
        yield f"{at}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'"
    schema = tool["input_schema"]
    yield from dictionary(schema, f"{at}.input_schema")
    yield from required(schema, f"{at}.input_schema", ("type",))
    yield from _one_of(schema["type"], f"{at}.input_schema.type", ("object",))
    if tool.get("description") is not None:
        yield from string(tool["description"], f"{at}.description")
    if tool.get("strict") is True and (why := schemas.refused(schema)):
        yield f"{at}.input_schema: {why}"


def _tool_choice(value: Any, at: str) -> Complaints:
    yield from dictionary(value, at)
    yield from _tagged(value, at, ("any", "auto", "none", "tool"))
    if value["type"] == "tool":
        yield from required(value, f"{at}.tool", ("name",))
        yield from string(value["name"], f"{at}.tool.name")


def _output_config(value: Any, at: str) -> Complaints:
    yield from dictionary(value, at)
    if value.get("effort") is not None:
        yield from _one_of(value["effort"], f"{at}.effort", ("low", "medium", "high", "xhigh", "max"))
    form = value.get("format")
    if form is None:
        return
    yield from dictionary(form, f"{at}.format")
    yield from required(form, f"{at}.format", ("type", "schema"))
    yield from _one_of(form["type"], f"{at}.format.type", ("json_schema",))
    if why := schemas.refused(form["schema"]):
        yield f"{at}.format.schema: {why}"


def _cache_control(value: Any, at: str) -> Complaints:
    if value is None:
        return
    yield from dictionary(value, at)
    yield from _tagged(value, at, ("ephemeral",))
    if value.get("ttl") is not None:
        yield from _one_of(value["ttl"], f"{at}.ephemeral.ttl", ("5m", "1h"))


def _share(value: Any, at: str) -> Complaints:
    if isinstance(value, bool) or not isinstance(value, int | float):
        yield f"{at}: Input should be a valid number"
    if not 0 <= value <= 1:
        yield f"{at}: range: 0..1"


def _together(params: dict[str, Any], betas: tuple[str, ...]) -> Complaints:
    """Yield members that are valid alone but not together with another one."""
    choice, thinking, tools = params.get("tool_choice"), params.get("thinking"), params.get("tools") or []
    brings_more = bool(params.get("mcp_servers"))  # the older form: tools of a server that `tools` does not name
    if choice and choice["type"] != "none" and not tools and not brings_more:
        yield "tool_choice: may only be specified while providing tools"
    # Other tools can bring more names than their own.
    brings_more = brings_more or any(tool.get("type") not in (None, "custom") for tool in tools)
    names = None if brings_more else {tool["name"] for tool in tools}
    if choice and choice["type"] == "tool" and names is not None and choice["name"] not in names:
        yield f"tool_choice: Tool '{choice['name']}' not found in provided tools"
    if thinking and thinking["type"] == "enabled":
        if choice and choice["type"] in ("any", "tool"):
            yield "Thinking may not be enabled when tool_choice forces tool use."
        if thinking["budget_tokens"] >= params["max_tokens"] and not any("interleaved" in beta for beta in betas):
            yield "`max_tokens` must be greater than `thinking.budget_tokens`."


def _breakpoints(value: Any) -> int:
    """Count the cache breakpoints of blocks, including nested ones."""
    if isinstance(value, list):
        return sum(map(_breakpoints, value))
    if not isinstance(value, dict):
        return 0
    own = value.get("cache_control") is not None
    return own + _breakpoints(value["content"]) if "content" in value else int(own)


def dictionary(value: Any, at: str) -> Complaints:
    if not isinstance(value, dict):
        yield f"{at}: Input should be a valid dictionary"


def array(value: Any, at: str) -> Complaints:
    if not isinstance(value, list):
        yield f"{at}: Input should be a valid list"


def string(value: Any, at: str) -> Complaints:
    if not isinstance(value, str):
        yield f"{at}: Input should be a valid string"


def integer(value: Any, at: str) -> Complaints:
    if isinstance(value, bool) or not isinstance(value, int):
        yield f"{at}: Input should be a valid integer"


def required(value: dict[str, Any], at: str, keys: tuple[str, ...]) -> Complaints:
    for key in keys:
        if key not in value:
            yield f"{at}.{key}: Field required"


def _one_of(value: Any, at: str, known: tuple[str, ...]) -> Complaints:
    if value not in known:
        yield f"{at}: Input should be {' or '.join(map(repr, known))}"


def _tagged(value: dict[str, Any], at: str, known: Any) -> Complaints:
    if "type" not in value:
        yield f"{at}.type: Field required"
    if not isinstance(value["type"], str) or value["type"] not in known:
        tags = ", ".join(map(repr, known))
        yield f"{at}: Input tag '{value['type']}' found using 'type' does not match any of the expected tags: {tags}"


CHECKS: dict[str, Callable[[Any, str], Complaints]] = {
    "cache_control": _cache_control,
    "inference_geo": string,
    "metadata": _metadata,
    "output_config": _output_config,
    "service_tier": lambda value, at: _one_of(value, at, ("auto", "standard_only")),
    "speed": lambda value, at: _one_of(value, at, ("standard", "fast")),
    "stop_sequences": _stop_sequences,
    "system": _system,
    "temperature": _share,
    "thinking": _thinking,
    "tool_choice": _tool_choice,
    "tools": _tools,
    "top_k": integer,
    "top_p": _share,
}
