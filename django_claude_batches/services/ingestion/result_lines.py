"""Read one line of results: bytes in, a row or a problem out. No I/O."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

from django_claude_batches import wire
from django_claude_batches.client import Line
from django_claude_batches.models import BatchResult, ResultProblem
from django_claude_batches.models.bulk_rows import ResultRow
from django_claude_batches.sanitize import Cleaner
from django_claude_batches.services.ingestion import fast_path
from django_claude_batches.services.ingestion.billed_usage import fill, mapping
from django_claude_batches.services.ingestion.fast_path import LineStart, MessageTemplates, match_start
from django_claude_batches.services.ingestion.json_decoding import decode

MAX_EXCERPT = 500
"""Characters of a problem line that are shown; its hash tells it from others."""

MAX_SECRET = 500
"""Bytes beyond it that are looked at, so that a secret which it would cut is redacted as a whole."""

USUAL_DETAILS: tuple[Any, ...] = (None, {}, {"error_visibility": "user_facing"})
"""`details` of a line's error that say nothing of their own (docs/reference/wire.md §3.5)."""


def problem(line: Line, reason: str) -> ResultProblem:
    return ResultProblem(
        number=line.number,
        offset=line.offset,
        sha256=hashlib.sha256(line.data).hexdigest(),
        excerpt=excerpt(line),
        reason=Cleaner().text(reason),
    )


def excerpt(line: Line, redacted: Callable[[str], str] = str) -> str:
    """Return the beginning of a line, as pages show it."""
    return Cleaner().text(redacted(line.data[: MAX_EXCERPT + MAX_SECRET].decode("utf-8", "replace"))[:MAX_EXCERPT])


def read(line: Line, seen: LineStart | None, templates: MessageTemplates) -> ResultRow | ResultProblem:
    """Return the line's row, without its request, or its problem.

    `seen` is the match of its beginning, if it is usual.
    """
    if seen is not None and not line.oversized and (row := fast_path.read(line.data, seen, templates)) is not None:
        return row
    return _read_slow(line)


def parse(line: Line) -> BatchResult | ResultProblem:
    """Return the line as a BatchResult that is not saved, or its problem."""
    found = read(line, None if line.oversized else match_start(line.data), MessageTemplates())
    if isinstance(found, ResultProblem):
        return found
    text = found.message
    message = json.loads(bytes(text) if isinstance(text, memoryview) else text or "null")
    columns = asdict(replace(found, message=None)) | {"message": message}
    del columns["prompts"]
    return BatchResult(**columns)


def _read_slow(line: Line) -> ResultRow | ResultProblem:
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
    if decoded.is_ambiguous("custom_id"):
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


def _row(custom_id: str, result: Mapping[str, Any]) -> tuple[ResultRow, bool]:
    """Return the row, and whether its columns hold the complete result."""
    cleaner = Cleaner()
    row = ResultRow(custom_id, cleaner.text(result["type"], 40))
    message = cleaner.clean(result.get("message"))
    if message is not None:
        row.message = json.dumps(message, ensure_ascii=False)
    if isinstance(message, dict):
        fill(row, message, cleaner)
    error = result.get("error")
    if error is not None:
        _fill_error(row, mapping(error), cleaner)
    told = (error is None or _is_plain(error)) and not result.keys() - {"type", "message", "error"}
    return row, told and not cleaner.changed


def _fill_error(row: ResultRow, envelope: Mapping[str, Any], cleaner: Cleaner) -> None:
    """Errors nest once: `result.error.error`, beside `result.error.request_id` (docs/reference/wire.md §3.5)."""
    error = mapping(envelope.get("error")) or envelope
    row.error_type = cleaner.short_text(error.get("type"), 100)
    row.error_message = cleaner.text(str(error.get("message") or ""))
    row.error_request_id = cleaner.short_text(envelope.get("request_id"), 100)


def _is_plain(envelope: Any) -> bool:
    """Return whether the columns hold the complete error."""
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
