"""Check everything inside `params`, which the API does when a batch ends (`docs/reference/wire.md` §3.2, §6).

A request that fails becomes an errored line and affects no other. Paths have no `requests.N.params.` prefix.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from . import params_types
from .models import MODELS, SAMPLING, refused_by

# The beta that allows 300,000 output tokens, in batches only (§4).
OUTPUT_300K = "output-300k-2026-03-24"

REQUIRED = ("model", "messages", "max_tokens")
GENERAL = frozenset(
    {
        "cache_control", "container", "diagnostics", "inference_geo", "metadata", "output_config", "service_tier",
        "speed", "stop_sequences", "stream", "system", "thinking", "tool_choice", "tools", "user_profile_id",
    }
)  # fmt: skip
BETA = frozenset(
    {
        "billing_policy", "compaction", "context_management", "fallback_credit_token", "fallbacks", "mcp_servers",
        "thread",
    }
)  # fmt: skip
# §3.2. The betas' keys are accepted with any beta: which needs which is not fully known.
KNOWN = frozenset(REQUIRED) | GENERAL | BETA

USER_FACING = {"error_visibility": "user_facing"}


class Failure(NamedTuple):
    """An errored line: `type` and `message` are the API's; `while_running` gives it a `workerreq_…` id (§3.5).

    Its `details` are the usual ones unless they are None, which has also been recorded.
    """

    type: str = "api_error"
    message: str = "Internal server error"
    while_running: bool = False
    details: dict[str, Any] | None = USER_FACING


class Terms(NamedTuple):
    """The headers of a create call that apply to each of its requests."""

    version: str
    betas: tuple[str, ...] = ()
    user_profile_id: str | None = None


def judge(params: dict[str, Any], terms: Terms, *, in_batch: bool = True) -> Failure | None:
    """Return the first problem of `params`, or None; with `in_batch`, also check what only batches refuse."""
    for message in _complaints(params, terms, in_batch=in_batch):
        return Failure("invalid_request_error", message)
    model = MODELS.get(params["model"])
    if model is None:
        return Failure("not_found_error", f"model: {params['model']}")
    if text := refused_by(params["model"], params):
        return Failure("invalid_request_error", text)
    allowed = model.max_tokens_beta if OUTPUT_300K in terms.betas else model.max_tokens
    if params["max_tokens"] > allowed:
        text = (
            f"{params['max_tokens']} > {allowed}, which is the maximum allowed number of output tokens for {model.id}"
        )
        return Failure("invalid_request_error", f"max_tokens: {text}")
    return None


def _complaints(params: dict[str, Any], terms: Terms, *, in_batch: bool) -> Iterator[str]:
    """Yield the problems. Only the first is used, so what follows a `yield` may rely on what was checked before it."""
    if params.get("stream"):
        yield '"stream=True" is not supported in the Message Batches API'
    for key in REQUIRED:
        if key not in params:
            yield f"{key}: Field required"
    for key in params:
        # Version 2023-06-01 accepts them, 2026-10-21 does not (§2.1).
        if key not in KNOWN and (key not in SAMPLING or terms.version == "2026-10-21"):
            yield f"{key}: Extra inputs are not permitted"
    yield from _of_values(params)
    yield from _of_messages(params["messages"], terms)
    yield from params_types.complaints(params, terms.betas)
    if in_batch:
        yield from _unsupported(params, terms)


def _of_values(params: dict[str, Any]) -> Iterator[str]:
    yield from params_types.string(params["model"], "model")
    yield from params_types.integer(params["max_tokens"], "max_tokens")
    if params["max_tokens"] < 1:
        yield "max_tokens: must be greater than or equal to 1"


def _of_messages(messages: Any, terms: Terms) -> Iterator[str]:
    yield from params_types.array(messages, "messages")
    if not messages:
        yield "messages: at least one message is required"
    for position, message in enumerate(messages):
        at = f"messages.{position}"
        yield from params_types.dictionary(message, at)
        yield from params_types.required(message, at, ("role", "content"))
        if message["role"] not in ("user", "assistant", "system"):
            yield f"{at}.role: Input should be 'user', 'assistant' or 'system'"
        is_last = position == len(messages) - 1
        yield from params_types.of_content(
            message["content"], at=at, is_optional=is_last and message["role"] == "assistant"
        )
        if terms.version == "2026-10-21" and isinstance(message["content"], list):
            yield from _of_blocks(message["role"], message["content"], at=f"{at}.content")


def _of_blocks(role: str, blocks: list[Any], *, at: str) -> Iterator[str]:
    """Yield the use of content that 2026-10-21 removed (§2.1); the texts are inferred."""
    for position, block in enumerate(blocks):
        kind = block.get("type") if isinstance(block, dict) else None
        if role == "assistant" and kind == "document":
            yield f"{at}.{position}: Input tag 'document' is not permitted in an assistant message"
        if role == "user" and kind == "text" and block.get("citations"):
            yield f"{at}.{position}.text.citations: Extra inputs are not permitted"


def _unsupported(params: dict[str, Any], terms: Terms) -> Iterator[str]:
    """Yield what works in the Messages API and not in a batch (§3.2); the texts are inferred."""
    if params.get("speed") == "fast":
        yield '"speed=fast" is not supported in the Message Batches API'
    if params.get("fallbacks"):
        yield '"fallbacks" is not supported in the Message Batches API'
    policy = params.get("billing_policy")
    if isinstance(policy, dict) and policy.get("bill_to") == "user_profile":
        yield "billing_policy.bill_to: user_profile is not supported in the Message Batches API"
    profile = params.get("user_profile_id")
    if profile and terms.user_profile_id and profile != terms.user_profile_id:
        yield "user_profile_id: conflicts with the anthropic-user-profile-id header"
