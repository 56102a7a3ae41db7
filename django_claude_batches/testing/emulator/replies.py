"""The emulator's answers: functions that make a reply from `params` and the custom_id.

Each function here returns a `Replies`; those with a parameter `otherwise` or `replies` can wrap another one. An answer
is a text, a dictionary or list (its JSON becomes the text), a `Reply`, or a `Failure` for an errored line. They are
called only for requests with valid `params`.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .schema_values import fitting
from .validation.params import Failure

# An approximation: usage is plausible, not exact.
BYTES_PER_TOKEN = 4

# The tag that django_claude_batches adds in front of each custom_id, to identify the batch.
TAG = re.compile(r"[a-z2-7]{13}_")


@dataclass(frozen=True)
class Reply:
    """The message of a succeeded line: a `text` or `content` blocks, and its `stop_reason`.

    `usage` and `extra` are merged over the generated usage and message; unknown keys are kept.
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
        """Return the content blocks: `content` if given, otherwise one text block."""
        return [{"type": "text", "text": self.text}] if self.content is None else self.content


Answer = str | dict[str, Any] | list[Any] | Reply | Failure
# Called as `replies(params, custom_id)`, also with each of these keywords that it accepts: `index=` (the request's
# position in its batch, from 0) and `wire_id=` (its custom_id as received, with the tag).
Replies = Callable[..., Answer]


def with_keywords(replies: Replies) -> Replies:
    """Return `replies` as a function that accepts each keyword. Called once, not for each of 100,000 requests."""
    parameters = inspect.signature(replies).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return replies
    taken = {"index", "wire_id"} & {parameter.name for parameter in parameters}

    def answer(params: dict[str, Any], custom_id: str, **about: Any) -> Answer:
        return replies(params, custom_id, **{name: about[name] for name in taken & about.keys()})

    return answer if taken else lambda params, custom_id, **about: replies(params, custom_id)


def ask(replies: Replies, params: dict[str, Any], custom_id: str, **about: Any) -> Reply | Failure:
    """Return the answer of `replies` (made by `with_keywords`) to one request; a text or JSON becomes a `Reply`."""
    answer = replies(params, custom_id, **about)
    if isinstance(answer, str):
        return Reply(answer)
    if isinstance(answer, dict | list):
        return Reply(json.dumps(answer, ensure_ascii=False))
    if isinstance(answer, Reply | Failure):
        return answer
    raise TypeError(f"replies returned {answer!r} for {custom_id}: expected text, JSON, a Reply or a Failure")


def tag_length(requests: list[dict[str, Any]]) -> int:
    """Return the length of the tag that all custom_ids of a batch begin with, including its underscore, or 0."""
    found = TAG.match(requests[0]["custom_id"])
    if found is None or not all(request["custom_id"].startswith(found[0]) for request in requests):
        return 0
    return len(found[0])


def echo(*, limit: int = 200) -> Replies:
    """Answer with the last user text, cut to `limit` characters and to `max_tokens`.

    If a tool is forced or a schema is given, answer as `schema_shaped` does.
    """

    return schema_shaped(
        otherwise=lambda params, custom_id: _last_user_text(params)[:limit][: params["max_tokens"] * BYTES_PER_TOKEN]
    )


def schema_shaped(*, otherwise: Replies | None = None) -> Replies:
    """Answer with small JSON that fits the requested schema, or the schema of the tool that `tool_choice` forces.

    Strings are words of the prompt, lists have one item. Requests without either are answered by `otherwise` (by
    default an echo).
    """
    fallback = with_keywords(otherwise or echo())

    def answer(params: dict[str, Any], custom_id: str, **about: Any) -> Answer:
        if (choice := params.get("tool_choice")) and choice["type"] in ("any", "tool"):
            return _tool_use(params, choice.get("name"))
        schema = _asked_schema(params)
        if schema is None:
            return ask(fallback, params, custom_id, **about)
        return json.dumps(fitting(schema, _last_user_text(params)), ensure_ascii=False)

    return answer


def always(answer: Answer) -> Replies:
    """Answer each request with this."""
    return lambda params, custom_id: answer


def scripted(answers: Mapping[Any, Answer], *, otherwise: Replies | None = None) -> Replies:
    """Answer by custom_id (str; with its tag or without), or by the request's position in its batch (int, from 0).

    All other requests are answered by `otherwise` (by default an echo).
    """
    fallback = with_keywords(otherwise or echo())

    def answer(params: dict[str, Any], custom_id: str, **about: Any) -> Answer:
        for key in (custom_id, about.get("wire_id"), about.get("index")):
            if key in answers:
                return answers[key]
        return ask(fallback, params, custom_id, **about)

    return answer


def failing(
    share: float, *, failure: Failure | None = None, seed: object = 0, otherwise: Replies | None = None
) -> Replies:
    """Make about this `share` (0 to 1) of the requests fail, the same ones each time for one `seed`."""
    fallback = with_keywords(otherwise or echo())
    error = failure or Failure(while_running=True)

    def answer(params: dict[str, Any], custom_id: str, **about: Any) -> Answer:
        digest = hashlib.sha256(f"{seed}:{custom_id}".encode()).digest()
        if int.from_bytes(digest[:8]) < share * 2**64:
            return error
        return ask(fallback, params, custom_id, **about)

    return answer


def truncated(*, replies: Replies | None = None) -> Replies:
    """Stop each reply at `max_tokens`: its text is cut there, and its usage has `max_tokens` output tokens."""

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

    Without `arguments`, small ones that fit the tool's schema are used. It is not checked whether the request offers
    the tool. The block's id is added when the result line is made.
    """
    return lambda params, custom_id: _tool_use(params, name, arguments)


def _tool_use(params: dict[str, Any], name: str | None, arguments: dict[str, Any] | None = None) -> Reply:
    offered = [tool for tool in params.get("tools") or [] if name in (None, tool.get("name")) and "name" in tool]
    tool = offered[0] if offered else {"name": name or "tool"}
    if arguments is None:
        arguments = fitting(tool.get("input_schema", {"type": "object"}), _last_user_text(params))
    return Reply(content=[{"type": "tool_use", "name": tool["name"], "input": arguments}], stop_reason="tool_use")


def _around(replies: Replies | None, change: Callable[[Reply, dict[str, Any]], Reply]) -> Replies:
    inner = with_keywords(replies or echo())

    def answer(params: dict[str, Any], custom_id: str, **about: Any) -> Answer:
        reply = ask(inner, params, custom_id, **about)
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
