"""A result as the line that the API sent, from what its row tells. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from django_claude_batches.models.result import ResultType

DETAILS = {"error_visibility": "user_facing"}
"""What the API says in each error of a line (docs/reference/wire.md §3.5). Of another one the row has the original."""

_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\]:]')
"""What of valid JSON tells where its members are: strings, and what stands outside of them."""


_LINE_ENDS = {mark: f"\\u{ord(mark):04x}" for mark in "\x85\u2028\u2029"}
"""Characters at which str.splitlines and other readers end a line, and the escapes that mean the same."""


def line(row: Mapping[str, Any]) -> bytes | None:
    """Give the line, without its newline, under our custom_id; None where what it needs was purged.

    U+0085, U+2028 and U+2029, which JSON has in strings only, are escaped: some readers would end the line there.

    `row` has the columns `custom_id`, `result_type`, `raw`, `error_type`, `error_message` and `error_request_id`,
    the message's JSON as `message_text`, and `is_purged`, which says whether a purge of its batch has begun.
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
    """Give a line with another custom_id, all else byte for byte as it is.

    It is valid JSON, else it would be no row, and may be nested as deeply as it likes. Its custom_id is found as the
    member of the outermost object, not as text, which may stand in an answer too; and each time, should it be repeated.
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
    """Encode JSON; halves of characters, which came as bytes, and ends of lines as the escapes that mean the same."""
    for mark, escape in _LINE_ENDS.items():
        text = text.replace(mark, escape)
    return text.encode(errors="backslashreplace")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
