"""Result lines: a `Reply` or a `Failure` as the API's JSON (`docs/reference/wire.md` §3.5, §3.6)."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from .http_messages import encoded
from .identifiers import Identifiers
from .replies import BYTES_PER_TOKEN, Reply
from .validation.models import MODELS
from .validation.params import Failure


class Line(NamedTuple):
    """One result: its custom_id, its `result.type`, and the bytes as sent, ending in a newline."""

    custom_id: str
    type: str
    raw: bytes


def line_for(request: dict[str, Any], outcome: Reply | Failure, identifiers: Identifiers) -> Line:
    """Make the line of a request that was processed."""
    if isinstance(outcome, Failure):
        return _line(request["custom_id"], {"type": "errored", "error": _error(outcome, identifiers)})
    message = _message(request["params"], outcome, identifiers)
    return _line(request["custom_id"], {"type": "succeeded", "message": message})


def unprocessed_line(custom_id: str, type_: str) -> Line:
    """Make the line of a request that never reached the model: "canceled" or "expired"."""
    return _line(custom_id, {"type": type_})


def _line(custom_id: str, result: dict[str, Any]) -> Line:
    return Line(custom_id, result["type"], encoded({"custom_id": custom_id, "result": result}) + b"\n")


def _error(failure: Failure, identifiers: Identifiers) -> dict[str, Any]:
    return {
        "type": "error",
        "error": {
            "details": failure.details,
            "type": failure.type,
            "message": failure.message,
        },
        "request_id": identifiers.worker_request() if failure.while_running else None,
    }


def _message(params: dict[str, Any], reply: Reply, identifiers: Identifiers) -> dict[str, Any]:
    """Return the message, its keys in the order of the recordings of 2026."""
    content = [_with_id(block, identifiers) for block in reply.blocks]
    message = {
        "model": MODELS[params["model"]].id,
        "id": identifiers.message(),
        "type": "message",
        "role": "assistant",
        "content": content,
        "stop_reason": reply.stop_reason,
        "stop_sequence": reply.stop_sequence,
        "stop_details": reply.stop_details,
        "usage": _usage(params, content) | reply.usage,
        "container": None,
        "diagnostics": None,
    }
    return message | reply.extra


def _with_id(block: dict[str, Any], identifiers: Identifiers) -> dict[str, Any]:
    if block.get("type") == "tool_use" and "id" not in block:
        return {"type": "tool_use", "id": identifiers.tool_use()} | block
    return block


def _usage(params: dict[str, Any], content: list[dict[str, Any]]) -> dict[str, Any]:
    usage: dict[str, Any] = {
        "input_tokens": input_tokens(params),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": sum(_block_tokens(block) for block in content),
        "service_tier": "batch",
        "inference_geo": params.get("inference_geo") or "not_available",
    }
    thoughts = sum(_block_tokens(block) for block in content if block.get("type") == "thinking")
    if thoughts:
        usage["output_tokens_details"] = {"thinking_tokens": thoughts}
    return usage


def input_tokens(params: dict[str, Any]) -> int:
    """Return the approximate number of input tokens of `params`."""
    return _tokens([params[key] for key in ("system", "messages", "tools") if key in params])


def _block_tokens(block: dict[str, Any]) -> int:
    text = block.get(block.get("type", ""))
    return _tokens(text if isinstance(text, str) else block)


def _tokens(value: Any) -> int:
    """Return the approximate number of tokens of a text or a JSON value, at least 1."""
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    except RecursionError:  # nested almost too deeply to parse, and the stack is deeper here
        return 1
    return max(1, len(text.encode(errors="surrogatepass")) // BYTES_PER_TOKEN)
