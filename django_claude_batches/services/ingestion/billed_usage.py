"""Read the `usage` of an answer: which tokens are billed, and whether its counts contradict each other.

The rules are those of docs/reference/wire.md §3.6.

The columns have the tokens that the API counted, including compactions. `ResultRow.prompts` has the number of
prompts that they cover; 0 if the usage contradicts itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django_claude_batches import wire
from django_claude_batches.models.bulk_rows import ResultRow
from django_claude_batches.sanitize import Cleaner

MAX_TOKEN_COUNT = (2**63 - 1) // wire.MAX_REQUESTS
"""Tokens of one answer. More is no count: a batch's sum must fit into its column, too."""

LIFETIMES = {
    "cache_write_5m_tokens": "ephemeral_5m_input_tokens",
    "cache_write_1h_tokens": "ephemeral_1h_input_tokens",
}
TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", *LIFETIMES)
COUNTS = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")

Tokens = dict[str, int | None]


def mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def fill(row: ResultRow, message: Mapping[str, Any], cleaner: Cleaner) -> None:
    """Set the row's columns that are read from the message (not the message itself), and its `prompts`."""
    usage = mapping(message.get("usage"))
    row.model = cleaner.short_text(message.get("model"), 100)
    row.stop_reason = cleaner.short_text(message.get("stop_reason"), 60)
    row.service_tier = cleaner.short_text(usage.get("service_tier"), 40)
    row.inference_geo = cleaner.short_text(usage.get("inference_geo"), 40)
    tokens = _tokens(usage)
    row.web_search_requests = _count(mapping(usage.get("server_tool_use")).get("web_search_requests"))
    row.prompts = 1 if _is_unambiguous(usage, tokens) else 0
    if row.prompts and usage.get("iterations"):
        compactions = _compactions(usage["iterations"], tokens, message.get("model"))
        if compactions is None:
            row.prompts = 0
        else:
            row.prompts += len(compactions)
            tokens = _sum([tokens, *compactions])
    for name, count in tokens.items():
        setattr(row, name, count)


def has_plain_usage(usage: Mapping[str, Any]) -> bool:
    """Return whether `counts_agree` finds each contradiction in a `usage` that differs only in its numbers."""
    creation = usage.get("cache_creation")
    knows_all = creation is None or (isinstance(creation, dict) and not creation.keys() - LIFETIMES.values())
    return knows_all and _is_readable(usage) and not usage.get("iterations")


def counts_to_compare(usage: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Return the counts that `counts_agree` compares with columns: cache writes in all, and tokens of thinking."""
    thinking = mapping(usage.get("output_tokens_details")).get("thinking_tokens")
    return _count(usage.get("cache_creation_input_tokens")), _count(thinking)


def counts_agree(
    written: int | None, thinking: int | None, *, output: int | None, of_5m: int | None, of_1h: int | None
) -> bool:
    """Return whether the cache writes by lifetime add up to their total, and thinking is at most the output."""
    by_lifetime = (of_5m or 0) + (of_1h or 0)
    return (written is None or written == by_lifetime) and (thinking or 0) <= (output or 0)


def _tokens(usage: Mapping[str, Any]) -> Tokens:
    counts = {name: _count(usage.get(name)) for name in ("input_tokens", "output_tokens")}
    counts["cache_read_tokens"] = _count(usage.get("cache_read_input_tokens"))
    creation = usage.get("cache_creation")
    if isinstance(creation, dict):
        return counts | {name: _count(creation.get(key)) for name, key in LIFETIMES.items()}
    # Without the split, all of it is billed at the 5-minute rate (docs/reference/wire.md §8).
    written = _count(usage.get("cache_creation_input_tokens"))
    return counts | {"cache_write_5m_tokens": written, "cache_write_1h_tokens": None}


def _is_unambiguous(usage: Mapping[str, Any], tokens: Tokens) -> bool:
    """Return whether the usage has the billed tokens, and no two of its counts contradict each other."""
    lifetimes = mapping(usage.get("cache_creation"))
    unknown = [count for key, count in lifetimes.items() if key not in LIFETIMES.values()]
    written, of_thinking = counts_to_compare(usage)
    return (
        _is_readable(usage)
        and not any(unknown)
        and counts_agree(
            written,
            of_thinking,
            output=tokens["output_tokens"],
            of_5m=tokens["cache_write_5m_tokens"],
            of_1h=tokens["cache_write_1h_tokens"],
        )
    )


def _is_readable(usage: Mapping[str, Any]) -> bool:
    """Return whether the wire's page documents the form of what is billed, at the speed of batches."""
    creation, tools = usage.get("cache_creation"), usage.get("server_tool_use")
    counts = [usage.get(name) for name in COUNTS] + [mapping(creation).get(key) for key in LIFETIMES.values()]
    counts.append(mapping(tools).get("web_search_requests"))
    return (
        all(count is None or _count(count) is not None for count in counts)
        and all(part is None or isinstance(part, dict) for part in (creation, tools))
        and usage.get("speed") in (None, "standard")
    )


def _compactions(iterations: Any, tokens: Tokens, model: Any) -> list[Tokens] | None:
    """Return the tokens of each compaction, which `tokens` does not include; None if the billed tokens are not known.

    They are not known if an iteration has a type or a model whose price may differ from the answer's, or if the other
    iterations do not add up to `tokens`.
    """
    found: dict[str, list[Tokens]] = {"compaction": [], "message": []}
    for iteration in iterations if isinstance(iterations, list) else [None]:
        part = mapping(iteration)
        counts = _tokens(part)
        kind = part.get("type")
        is_ours = isinstance(kind, str) and kind in found and part.get("model") in (None, model)
        if (
            not is_ours
            or not _is_unambiguous(part, counts)
            or None in (counts["input_tokens"], counts["output_tokens"])
        ):
            return None
        found[str(kind)].append(counts)
    if found["message"] and _by_kind(_sum(found["message"])) != _by_kind(tokens):
        return None
    return found["compaction"]


def _by_kind(tokens: Tokens) -> tuple[int, ...]:
    """Return input, output, cache read and cache write tokens. An iteration may lack the lifetimes of cache writes."""
    counts = {name: count or 0 for name, count in tokens.items()}
    written = sum(counts[name] for name in LIFETIMES)
    return counts["input_tokens"], counts["output_tokens"], counts["cache_read_tokens"], written


def _sum(parts: Iterable[Tokens]) -> Tokens:
    """Return the sum; None if no value is a count, or the sum is too large for its column."""
    found: Tokens = {}
    for name in TOKENS:
        counts = [count for part in parts if (count := part[name]) is not None]
        found[name] = _count(sum(counts)) if counts else None
    return found


def _count(value: Any) -> int | None:
    """Return the value if its type is exactly int (bool is a subclass); otherwise None."""
    return value if type(value) is int and 0 <= value <= MAX_TOKEN_COUNT else None
