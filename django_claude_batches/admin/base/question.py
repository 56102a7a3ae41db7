"""The prompt, or the whole conversation, of a request as text."""

from __future__ import annotations

import json
from typing import Any


def prompt(params: str) -> str:
    """Return the text of the last message; all of the params if there is none, or if they were cut."""
    try:
        return _text_of(json.loads(params)["messages"][-1]["content"]) or params
    except (ValueError, LookupError, TypeError, RecursionError):
        return params


def conversation(params: str) -> tuple[str, str]:
    """Return the system prompt, and the text of all messages; "" and the params if they cannot be read."""
    try:
        decoded = json.loads(params)
        messages = [(message["role"], _text_of(message["content"])) for message in decoded["messages"]]
        system = _text_of(decoded.get("system") or "")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return "", params
    if len(messages) == 1:
        return system, messages[0][1] or params
    return system, "\n\n".join(f"{role}: {text}" for role, text in messages)


def _text_of(content: Any) -> str:
    """Return the text of a message's content; for a block without text, its type in brackets."""
    if isinstance(content, str):
        return content
    return "\n".join(str(block["text"]) if "text" in block else f"[{block['type']}]" for block in content)
