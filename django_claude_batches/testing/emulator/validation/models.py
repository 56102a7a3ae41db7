"""The models, and what each of them refuses (`docs/reference/wire.md` §2.3, §4, §8).

The app has a table of its own (it shares no code with the emulator); a test compares both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

SAMPLING = ("temperature", "top_p", "top_k")


class Model(NamedTuple):
    """A model: its id in messages, its name, and its limits.

    `max_tokens` is the maximum of output tokens, `max_tokens_beta` that with the beta of 300,000; `refuses` are keys of
    `REFUSALS`.
    """

    id: str
    name: str
    max_tokens: int
    max_tokens_beta: int
    refuses: tuple[str, ...]


def _models() -> dict[str, Model]:
    """Return the models of §8, by each of their names."""
    fable = "sampling forced_tool thinking_enabled thinking_disabled"
    # name, maximum of output tokens, the same with the beta, refusals
    table = [
        ("fable-5-2", 128_000, 128_000, fable),
        ("mythos-5-2", 128_000, 128_000, fable),
        ("haiku-5-5", 128_000, 300_000, "sampling"),
        ("sonnet-5-5", 128_000, 300_000, "sampling thinking_enabled prefill"),
        ("fable-5-1", 128_000, 128_000, fable),
        ("opus-5-5", 128_000, 300_000, "sampling forced_tool thinking_enabled thinking_disabled prefill"),
        ("mythos-5-1", 128_000, 128_000, fable),
        ("sonnet-5", 128_000, 300_000, "sampling thinking_enabled prefill"),
        ("fable-5", 128_000, 128_000, "sampling forced_tool_fable_5 thinking_enabled thinking_disabled"),
        ("mythos-5", 128_000, 128_000, fable),
        ("opus-5", 128_000, 300_000, "sampling thinking_enabled prefill"),
        ("opus-4-8", 128_000, 300_000, "sampling thinking_enabled prefill"),
        ("opus-4-7", 128_000, 300_000, "sampling thinking_enabled prefill"),
        ("mythos-preview", 128_000, 128_000, fable),
        ("opus-4-6", 128_000, 300_000, "prefill"),
        ("sonnet-4-6", 128_000, 300_000, "prefill"),
        ("haiku-4-5-20251001", 64_000, 64_000, ""),
        ("opus-4-5-20251101", 64_000, 64_000, ""),
        ("sonnet-4-5-20250929", 64_000, 64_000, ""),
    ]
    models = {}
    for name, most, with_beta, refuses in table:
        alias, _, date = name.rpartition("-")
        plain = alias if len(date) == 8 else name
        display = f"Claude {plain.replace('-', ' ', 1).title().replace('-', '.')}"
        model = Model(f"claude-{name}", display, most, with_beta, tuple(refuses.split()))
        models[model.id] = models[f"claude-{plain}"] = model
    return models


def _sampling(params: dict[str, Any]) -> str | None:
    for key in SAMPLING:
        if params.get(key) is not None:
            return f"`{key}` is deprecated for this model."
    return None


def _of_type(key: str, kinds: tuple[str, ...], text: str) -> Callable[[dict[str, Any]], str | None]:
    """Refuse the parameter `key` of these types with this text."""
    return lambda params: text if _type_of(params, key) in kinds else None


def _prefill(params: dict[str, Any]) -> str | None:
    text = "This model does not support assistant message prefill. The conversation must end with a user message."
    messages = params.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    if not isinstance(last, dict) or last.get("role") != "assistant":
        return None
    return None if _is_paused(last.get("content")) else text


def _is_paused(content: Any) -> bool:
    """Return whether this turn stopped with `pause_turn`: sending it back unchanged continues it (§3.6)."""
    blocks = content if isinstance(content, list) else []
    return any(isinstance(block, dict) and block.get("type") == "server_tool_use" for block in blocks)


def _type_of(params: dict[str, Any], key: str) -> Any:
    value = params.get(key)
    return value.get("type") if isinstance(value, dict) else None


REFUSALS: dict[str, Callable[[dict[str, Any]], str | None]] = {
    "sampling": _sampling,
    "forced_tool": _of_type(
        "tool_choice", ("any", "tool"), 'tool_choice: type "tool" and "any" are not supported for this model.'
    ),
    "forced_tool_fable_5": _of_type(
        "tool_choice", ("any", "tool"), "tool_choice forces tool use is not compatible with this model"
    ),
    "thinking_enabled": _of_type(
        "thinking",
        ("enabled",),
        '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" and '
        '"output_config.effort" to control thinking behavior.',
    ),
    # The text is inferred.
    "thinking_disabled": _of_type(
        "thinking", ("disabled",), '"thinking.type.disabled" is not supported for this model.'
    ),
    "prefill": _prefill,
}

MODELS = _models()


def refused_by(model: str, params: dict[str, Any]) -> str | None:
    """Return the text with which this model refuses `params` that others accept, or None; None for an unknown model."""
    known = MODELS.get(model)
    for name in known.refuses if known else ():
        if text := REFUSALS[name](params):
            return text
    return None
