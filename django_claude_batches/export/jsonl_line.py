"""Rebuild the API's result line from the columns of a result. No I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from django_claude_batches.models.result import ResultType

# The `details` of each error in a result line (docs/reference/wire.md §3.5). If they differ, the row has the original
# line.
DETAILS = {"error_visibility": "user_facing"}

# The tokens that are needed to find members in valid JSON: strings, and punctuation outside of strings.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\]:]')


# Characters at which str.splitlines and other readers end a line, and their JSON escapes.
_LINE_ENDS = {mark: f"\\u{ord(mark):04x}" for mark in "\x85\u2028\u2029"}


def line(row: Mapping[str, Any]) -> bytes | None:
    """Return the line with the stored custom_id, without a newline; None if a purge removed what the line needs.

    U+0085, U+2028 and U+2029, which occur only in JSON strings, are escaped: some readers would end the line there.

    `row` has the columns `custom_id`, `result_type`, `raw`, `error_type`, `error_message` and `error_request_id`, the
    message's JSON as `message_text`, and `is_purged`: whether a purge of the batch has begun.
    """
    if row["raw"] is not None:
        return _encoded(with_custom_id(bytes(row["raw"]), row["custom_id"]).decode(errors="surrogatepass"))
    text = row["message_text"]
    if text is None and (row["is_purged"] or row["result_type"] == ResultType.SUCCEEDED):
        return None
    told = f'"type":{_json(row["result_type"])}'
    if text is not None:
        told += f',"message":{text}'
    if row["error_type"] or row["error_message"]:
        told += f',"error":{_json(_envelope(row))}'
    return _encoded(f'{{"custom_id":{_json(row["custom_id"])},"result":{{{told}}}}}')


def with_custom_id(raw: bytes, custom_id: str) -> bytes:
    """Return the line with another custom_id, otherwise unchanged byte for byte.

    The line is valid JSON, because it was stored as a result, and may be nested to any depth. Only members of the
    outermost object are replaced, because an answer may contain the same text. A repeated member is replaced each time.
    """
    written = json.dumps(custom_id).encode()
    parts, done, depth = [], 0, 0
    key = before = b""
    for token in _TOKEN.finditer(raw):
        text = token[0]
        if text in b"{[":
            depth += 1
        elif text in b"}]":
            depth -= 1
        elif text == b":":
            key = before
        elif depth == 1 and key and json.loads(key) == "custom_id":
            parts += [raw[done : token.start()], written]
            done = token.end()
        if text != b":":
            before, key = text, b""
    return b"".join([*parts, raw[done:]])


def _envelope(row: Mapping[str, Any]) -> dict[str, Any]:
    error = {"details": DETAILS, "type": row["error_type"], "message": row["error_message"]}
    return {"type": "error", "error": error, "request_id": row["error_request_id"] or None}


def _encoded(text: str) -> bytes:
    """Encode JSON text, and write lone surrogates (which the API sent as bytes) and line ends as JSON escapes."""
    for mark, escape in _LINE_ENDS.items():
        text = text.replace(mark, escape)
    return text.encode(errors="backslashreplace")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
