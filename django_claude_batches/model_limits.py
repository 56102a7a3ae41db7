"""Parameters that some models refuse. The API refuses such a request only when the batch runs.

The facts and their sources: docs/reference/wire.md §2.3 and §4 (`max_tokens`). The emulator has a table of its own.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django_claude_batches.pricing import DATED

SAMPLING = ("temperature", "top_p", "top_k")
# Parameters that most bodies lack: checked first, since a batch may have 100,000 requests.
_SELDOM = frozenset((*SAMPLING, "tool_choice", "thinking"))

EXTENDED_BETA = "output-300k-2026-03-24"
EXTENDED_TOKENS = 300_000

MAX_NAME_LENGTH = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """The limits of one model; `max_tokens` is its maximum, `extended` says whether the beta raises it."""

    max_tokens: int = 128_000
    extended: bool = False
    sampling: bool = False
    forced_tools: bool = False
    thinking_enabled: bool = False
    thinking_disabled: bool = False
    prefill: bool = False


_OF_4_5 = Limits(max_tokens=64_000)
_OF_4_6 = Limits(extended=True, prefill=True)
_OF_OPUS_4_7 = Limits(extended=True, prefill=True, sampling=True, thinking_enabled=True)
_OF_OPUS_5_5 = Limits(
    extended=True, prefill=True, sampling=True, forced_tools=True, thinking_enabled=True, thinking_disabled=True
)
_OF_FABLE = Limits(sampling=True, forced_tools=True, thinking_enabled=True, thinking_disabled=True)

# By name, without a date. Exact names only: `claude-opus-5` is not `claude-opus-5-5`.
MODELS: Mapping[str, Limits] = {
    "claude-opus-4-5": _OF_4_5,
    "claude-sonnet-4-5": _OF_4_5,
    "claude-haiku-4-5": _OF_4_5,
    "claude-opus-4-6": _OF_4_6,
    "claude-sonnet-4-6": _OF_4_6,
    "claude-opus-4-7": _OF_OPUS_4_7,
    "claude-opus-4-8": _OF_OPUS_4_7,
    "claude-opus-5": _OF_OPUS_4_7,
    "claude-sonnet-5": _OF_OPUS_4_7,
    "claude-sonnet-5-5": _OF_OPUS_4_7,
    "claude-opus-5-5": _OF_OPUS_5_5,
    "claude-haiku-5-5": Limits(extended=True, sampling=True),
    "claude-fable-5": _OF_FABLE,
    "claude-fable-5-1": _OF_FABLE,
    "claude-fable-5-2": _OF_FABLE,
    "claude-mythos-5": _OF_FABLE,
    "claude-mythos-5-1": _OF_FABLE,
    "claude-mythos-5-2": _OF_FABLE,
    "claude-mythos-preview": _OF_FABLE,
}

MAX_TOKENS_WARNING = "{name} refuses max_tokens above {most:,}"
_LIFTED = frozenset(
    MAX_TOKENS_WARNING.format(name=name, most=one.max_tokens) for name, one in MODELS.items() if one.extended
)


def is_lifted(warning: str, betas: Container[str]) -> bool:
    """Return whether the model accepts, with these betas of the batch, what it refuses without them."""
    return EXTENDED_BETA in betas and warning in _LIFTED


def warnings_of(params: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the model is known to refuse in the body of a Messages call; nothing for an unknown model.

    There are few different texts: each quotes only the model's name, without its date. They are those without any beta,
    since a draft's betas can be edited after its requests were counted. Leave out what `is_lifted` when showing them.
    """
    model = params.get("model")
    # A longer name is not a model's, and must not be kept: it may be a megabyte.
    found = _found(model) if isinstance(model, str) and len(model) <= MAX_NAME_LENGTH else None
    if found is None:
        return
    name, limits = found
    if not _SELDOM.isdisjoint(params):
        yield from _refused_members(params, name, limits)
    if limits.prefill and _ends_with_assistant(params.get("messages")):
        yield f"{name} refuses a last message of the role assistant"
    max_tokens = params.get("max_tokens")
    if isinstance(max_tokens, int) and max_tokens > limits.max_tokens:
        is_above_all = limits.extended and max_tokens > EXTENDED_TOKENS
        yield MAX_TOKENS_WARNING.format(name=name, most=EXTENDED_TOKENS if is_above_all else limits.max_tokens)


def _refused_members(params: Mapping[str, Any], name: str, limits: Limits) -> Iterator[str]:
    if limits.sampling:
        for key in SAMPLING:
            if params.get(key) is not None:
                yield f"{name} refuses {key}"
    if limits.forced_tools and _type(params.get("tool_choice")) in {"any", "tool"}:
        yield f"{name} refuses a tool_choice of type any or tool"
    if limits.thinking_enabled and _type(params.get("thinking")) == "enabled":
        yield f"{name} refuses thinking of type enabled: use adaptive"
    if limits.thinking_disabled and _type(params.get("thinking")) == "disabled":
        yield f"{name} refuses thinking of type disabled"


@lru_cache(maxsize=256)
def _found(model: str) -> tuple[str, Limits] | None:
    dated = DATED.fullmatch(model)
    name = dated[1] if dated and model not in MODELS else model
    limits = MODELS.get(name)
    return None if limits is None else (name, limits)


def _type(value: Any) -> Any:
    found = value.get("type") if isinstance(value, Mapping) else None
    return found if isinstance(found, str) else ""


def _ends_with_assistant(messages: Any) -> bool:
    """Return whether the last message is the assistant's. A turn stopped with `pause_turn` may be sent back."""
    last = messages[-1] if isinstance(messages, list | tuple) and messages else None
    if not isinstance(last, dict | Mapping) or last.get("role") != "assistant":
        return False
    content = last.get("content")
    blocks = content if isinstance(content, list | tuple) else ()
    return all(_type(block) != "server_tool_use" for block in blocks)
