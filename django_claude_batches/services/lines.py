"""One line of results: bytes in, a row or a problem out. Pure: no database, no network."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django_claude_batches import wire
from django_claude_batches.client import Line
from django_claude_batches.models import BatchResult, ResultProblem
from django_claude_batches.services.decoding import decode

DEEPEST = 24
"""Levels of nesting that are stored as JSON; MariaDB's JSON_VALID stops at 32, and `message` is not at the top."""

LARGEST = (2**63 - 1) // wire.MAX_REQUESTS
"""Tokens of one answer. More is no count: a batch's sum must fit into its column, too."""

USUAL_DETAILS: tuple[Any, ...] = (None, {}, {"error_visibility": "user_facing"})
"""`details` of a line's error that say nothing of their own (docs/reference/wire.md §3.5)."""

EXCERPT = 500
"""Bytes of a problem line that are shown; its hash tells it from others."""


@dataclass(slots=True)
class Cleaner:
    """Makes any parsed JSON storable on every database, and remembers whether it had to change something."""

    changed: bool = False

    def clean(self, value: Any, depth: int = 1) -> Any:
        """Replace NUL and half characters, NaN and infinities; fold what is nested too deeply into its JSON text."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, float) and not math.isfinite(value):
            self.changed = True
            return None
        if not isinstance(value, (dict, list)):
            return value
        if depth >= DEEPEST:
            self.changed = True
            return self.text(json.dumps(value, ensure_ascii=False))
        if isinstance(value, list):
            return [self.clean(item, depth + 1) for item in value]
        return {self.text(key): self.clean(item, depth + 1) for key, item in value.items()}

    def text(self, value: str, longest: int | None = None) -> str:
        """Replace what UTF-8 or PostgreSQL cannot hold by U+FFFD, and cut at `longest` characters."""
        clean = value.replace("\0", "\ufffd")
        if not clean.isascii():
            clean = clean.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        clean = clean[:longest]
        self.changed |= clean != value
        return clean


def problem(line: Line, reason: str) -> ResultProblem:
    return ResultProblem(
        number=line.number,
        offset=line.offset,
        sha256=hashlib.sha256(line.data).hexdigest(),
        excerpt=Cleaner().text(line.data[:EXCERPT].decode("utf-8", "replace")),
        reason=Cleaner().text(reason),
    )


def parse(line: Line) -> BatchResult | ResultProblem:
    """Give the line's row, without its batch and request; or the problem with it."""
    if line.oversized:
        return problem(line, "The line is longer than any answer can be.")
    try:
        decoded = decode(line.data)
    except RecursionError:
        return problem(line, "The line is nested too deeply to be read.")
    except ValueError as error:
        return problem(line, f"The line is not JSON: {error}")
    parsed = decoded.value
    if not isinstance(parsed, dict) or not isinstance(parsed.get("result"), dict):
        return problem(line, 'The line is not an object with a "result".')
    custom_id, result_type = parsed.get("custom_id"), parsed["result"].get("type")
    if not isinstance(custom_id, str) or not wire.CUSTOM_ID_PATTERN.fullmatch(custom_id):
        return problem(line, "The line has no custom_id, or not a valid one.")
    if decoded.differ("custom_id"):
        return problem(line, "The line has a custom_id twice: which request it answers cannot be told.")
    if not isinstance(result_type, str) or not result_type:
        return problem(line, "The result has no type.")
    try:
        row, whole = _row(custom_id, parsed["result"])
    except RecursionError:
        return problem(line, "The line is nested too deeply to be stored.")
    if decoded.lossy or not whole or parsed.keys() - {"custom_id", "result"}:
        row.raw = line.data
    return row


def _row(custom_id: str, result: Mapping[str, Any]) -> tuple[BatchResult, bool]:
    """Give the row, and whether its columns tell all of the result."""
    cleaner = Cleaner()
    row = BatchResult(custom_id=custom_id, result_type=cleaner.text(result["type"], 40))
    row.message = cleaner.clean(result.get("message"))
    if isinstance(row.message, dict):
        _fill_message(row, row.message, cleaner)
    error = result.get("error")
    if error is not None:
        _fill_error(row, _mapping(error), cleaner)
    told = (error is None or _is_plain(error)) and not result.keys() - {"type", "message", "error"}
    return row, told and not cleaner.changed


def _fill_message(row: BatchResult, message: Mapping[str, Any], cleaner: Cleaner) -> None:
    usage = _mapping(message.get("usage"))
    creation = usage.get("cache_creation")
    row.model = _short(message.get("model"), 100, cleaner)
    row.stop_reason = _short(message.get("stop_reason"), 60, cleaner)
    row.input_tokens = _count(usage.get("input_tokens"))
    row.output_tokens = _count(usage.get("output_tokens"))
    row.cache_read_tokens = _count(usage.get("cache_read_input_tokens"))
    if isinstance(creation, dict):
        row.cache_write_5m_tokens = _count(creation.get("ephemeral_5m_input_tokens"))
        row.cache_write_1h_tokens = _count(creation.get("ephemeral_1h_input_tokens"))
    else:
        # Without the split, all of it is billed at the 5-minute rate (docs/reference/wire.md §8).
        row.cache_write_5m_tokens = _count(usage.get("cache_creation_input_tokens"))
    row.web_search_requests = _count(_mapping(usage.get("server_tool_use")).get("web_search_requests"))
    row.service_tier = _short(usage.get("service_tier"), 40, cleaner)
    row.inference_geo = _short(usage.get("inference_geo"), 40, cleaner)


def _fill_error(row: BatchResult, envelope: Mapping[str, Any], cleaner: Cleaner) -> None:
    """Errors nest once: `result.error.error`, beside `result.error.request_id` (docs/reference/wire.md §3.5)."""
    error = _mapping(envelope.get("error")) or envelope
    row.error_type = _short(error.get("type"), 100, cleaner)
    row.error_message = cleaner.text(str(error.get("message") or ""))
    row.error_request_id = _short(envelope.get("request_id"), 100, cleaner)


def _is_plain(envelope: Any) -> bool:
    """Say whether the columns hold all of this error."""
    if not isinstance(envelope, dict) or envelope.keys() - {"type", "error", "request_id"}:
        return False
    error, request_id = envelope.get("error"), envelope.get("request_id")
    if not isinstance(error, dict) or error.keys() - {"type", "message", "details"}:
        return False
    texts = (error.get("type"), error.get("message"))
    return (
        all(isinstance(text, str) and text for text in texts)
        and error.get("details") in USUAL_DETAILS
        and (request_id is None or (isinstance(request_id, str) and request_id != ""))
        and envelope.get("type", "error") == "error"
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _short(value: Any, longest: int, cleaner: Cleaner) -> str:
    return cleaner.text(value, longest) if isinstance(value, str) else ""


def _count(value: Any) -> int | None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and 0 <= value <= LARGEST else None
