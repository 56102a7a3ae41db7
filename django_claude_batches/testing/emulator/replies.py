"""What "Claude" answers: functions that make a reply from `params` and the custom_id.

Each function here returns a `Replies`, and those that take `otherwise` or `replies` can be put around another. A
reply is a text, a dictionary or list (its JSON is the text), a `Reply`, or a `Failure` for an errored line. Only
requests whose `params` are valid are asked about.

Custom_ids may arrive with an installation's tag before them (`{tag}_{custom_id}`). Whatever looks at a custom_id here
takes the whole id, or what follows its first underscore.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .judging import Failure
from .schemas import smallest

BYTES_PER_TOKEN = 4
"""A rule of thumb: it makes usage plausible, not right."""


@dataclass(frozen=True)
class Reply:
    """A succeeded line's message: a `text`, or whole `content` blocks in its place, and how it stopped.

    `usage` and `extra` are laid over the usage and the message that would be made: keys of your own are kept.
    """

    text: str = ""
    content: list[dict[str, Any]] | None = None
    stop_reason: str | None = "end_turn"
    stop_sequence: str | None = None
    stop_details: dict[str, Any] | None = None
    usage: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def blocks(self) -> list[dict[str, Any]]:
        """The content blocks: `content` where given, else one text block."""
        return [{"type": "text", "text": self.text}] if self.content is None else self.content


Answer = str | dict[str, Any] | list[Any] | Reply | Failure
Replies = Callable[..., Answer]
"""Called as `replies(params, custom_id)`, and with `index=` (the request's place in its batch) if it takes that."""


def with_index(replies: Replies) -> Replies:
    """Return `replies` as a function that takes `index=` too. Done once, not for each of 100,000 requests."""
    parameters = inspect.signature(replies).parameters.values()
    if any(parameter.name == "index" or parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return replies

    def answer(params: dict[str, Any], custom_id: str, *, index: int) -> Answer:
        return replies(params, custom_id)

    return answer


def ask(replies: Replies, params: dict[str, Any], custom_id: str, *, index: int) -> Reply | Failure:
    """Return the answer of `replies` (made by `with_index`) to one request, a text or JSON made a `Reply`."""
    answer = replies(params, custom_id, index=index)
    if isinstance(answer, str):
        return Reply(answer)
    if isinstance(answer, dict | list):
        return Reply(json.dumps(answer, ensure_ascii=False))
    if isinstance(answer, Reply | Failure):
        return answer
    raise TypeError(f"replies returned {answer!r} for {custom_id}: expected text, JSON, a Reply or a Failure")


def echo(*, limit: int = 200) -> Replies:
    """Answer with the last user text, cut to `limit` characters and to `max_tokens`.

    Where `output_config.format` asks for JSON, answer with the smallest JSON that fits its schema instead.
    """

    return schema_shaped(
        otherwise=lambda params, custom_id: _last_user_text(params)[:limit][: params["max_tokens"] * BYTES_PER_TOKEN]
    )


def schema_shaped(*, otherwise: Replies | None = None) -> Replies:
    """Answer with the smallest JSON that fits the schema asked for; without a schema, with `otherwise` (an echo)."""
    fallback = with_index(otherwise or echo())

    def answer(params: dict[str, Any], custom_id: str, *, index: int = 0) -> Answer:
        schema = _asked_schema(params)
        if schema is None:
            return ask(fallback, params, custom_id, index=index)
        return json.dumps(smallest(schema), ensure_ascii=False)

    return answer


def always(answer: Answer) -> Replies:
    """Answer each request with this."""
    return lambda params, custom_id: answer


def scripted(answers: Mapping[Any, Answer], *, otherwise: Replies | None = None) -> Replies:
    """Answer by custom_id (str), or by the request's place in its batch (int, from 0).

    The rest is answered with `otherwise` (an echo).
    """
    fallback = with_index(otherwise or echo())

    def answer(params: dict[str, Any], custom_id: str, *, index: int = 0) -> Answer:
        for key in (custom_id, untagged(custom_id), index):
            if key in answers:
                return answers[key]
        return ask(fallback, params, custom_id, index=index)

    return answer


def failing(
    share: float, *, failure: Failure | None = None, seed: object = 0, otherwise: Replies | None = None
) -> Replies:
    """Make about this `share` (0 to 1) of the requests fail, the same ones each time for one `seed`."""
    fallback = with_index(otherwise or echo())
    error = failure or Failure(while_running=True)

    def answer(params: dict[str, Any], custom_id: str, *, index: int = 0) -> Answer:
        digest = hashlib.sha256(f"{seed}:{untagged(custom_id)}".encode()).digest()
        if int.from_bytes(digest[:8]) < share * 2**64:
            return error
        return ask(fallback, params, custom_id, index=index)

    return answer


def truncated(*, replies: Replies | None = None) -> Replies:
    """Stop each reply at `max_tokens`: its text is cut there, and usage says that all of them were used."""

    def cut(reply: Reply, params: dict[str, Any]) -> Reply:
        limit = params["max_tokens"]
        blocks = [
            block | {"text": block["text"][: limit * BYTES_PER_TOKEN]} if block["type"] == "text" else block
            for block in reply.blocks
        ]
        return replace(reply, content=blocks, stop_reason="max_tokens", usage=reply.usage | {"output_tokens": limit})

    return _around(replies, cut)


def refusing(*, category: str | None = "cyber", explanation: str | None = None) -> Replies:
    """Refuse: a succeeded line with `stop_reason` "refusal" and its `stop_details` (§3.6). It is billed."""
    details = {"type": "refusal", "category": category, "explanation": explanation}
    return lambda params, custom_id: Reply(content=[], stop_reason="refusal", stop_details=details)


def thinking(*, thought: str = "Let me think about it.", replies: Replies | None = None) -> Replies:
    """Put a thinking block before each reply's content."""
    block = {"type": "thinking", "thinking": thought, "signature": "ErUBCkYIBxgCIkC0bG9vcGJhY2s="}
    return _around(replies, lambda reply, params: replace(reply, content=[block, *reply.blocks]))


def using_tool(name: str | None = None, *, arguments: dict[str, Any] | None = None) -> Replies:
    """Call a tool: `name`, or the first of the request's `tools`.

    `arguments` are, unless given, the smallest that fit the tool's schema. Whether the request offers the tool is not
    asked; the block's id is made when the line is.
    """

    def answer(params: dict[str, Any], custom_id: str) -> Answer:
        offered = [tool for tool in params.get("tools", []) if name in (None, tool.get("name"))]
        tool = offered[0] if offered else {"name": name or "tool"}
        value = smallest(tool.get("input_schema", {"type": "object"})) if arguments is None else arguments
        return Reply(
            content=[{"type": "tool_use", "name": tool["name"], "input": value}],
            stop_reason="tool_use",
        )

    return answer


def untagged(custom_id: str) -> str:
    """Return what follows the first underscore, or the whole id when there is none."""
    before, underscore, after = custom_id.partition("_")
    return after if underscore else before


def _around(replies: Replies | None, change: Callable[[Reply, dict[str, Any]], Reply]) -> Replies:
    inner = with_index(replies or echo())

    def answer(params: dict[str, Any], custom_id: str, *, index: int = 0) -> Answer:
        reply = ask(inner, params, custom_id, index=index)
        return reply if isinstance(reply, Failure) else change(reply, params)

    return answer


def _asked_schema(params: dict[str, Any]) -> dict[str, Any] | None:
    asked = (params.get("output_config") or {}).get("format") or {}
    return asked.get("schema") if asked.get("type") == "json_schema" else None


def _last_user_text(params: dict[str, Any]) -> str:
    for message in reversed(params["messages"]):
        if message["role"] == "user":
            content = message["content"]
            return content if isinstance(content, str) else _joined_text(content)
    return ""


def _joined_text(blocks: list[Any]) -> str:
    texts = (block.get("text") for block in blocks if isinstance(block, dict) and block.get("type") == "text")
    return "\n".join(text for text in texts if isinstance(text, str))
