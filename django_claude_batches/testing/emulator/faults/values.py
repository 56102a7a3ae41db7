"""Faults within one result line: values that break parsers and databases, and unknown types.

The line is the succeeded one at `line`, counted from 1 among the succeeded lines, in the order of sending.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal

from django_claude_batches.testing.emulator.lines import Line

from .context import Fault
from .results import on_lines

# A placeholder, replaced in the encoded bytes by a value that Python's encoder cannot produce.
PLACE = "the-odd-value-goes-here"

# As JSON. The first three are strings, and may be used in a text or as a key too.
ODD = {
    "nul": r'"a\u0000b"',
    "lone_surrogate": r'"a\ud800b"',
    "four_byte_characters": '"\U0001f600\U00020000"',
    "nan": "NaN",
    "infinity": "1e999",
    "long_integer": "9" * 5000,
    "deep_nesting": "[" * 5000 + "]" * 5000,
    "repeated_key": '1,"odd":2',
}

Where = Literal["text", "value", "key"]


def huge_line(lines: list[Line], *, line: int = 1, size: int = 8_000_000) -> list[Line]:
    """Extend a line's text until the line has `size` bytes."""

    def change(message: dict[str, Any]) -> None:
        message["content"].append({"type": "text", "text": PLACE})

    spoiled = _changed(lines, line, change, json_text='""')
    filling = size - max(len(line.raw) for line in spoiled)
    return _changed(lines, line, change, json_text=json.dumps("x" * max(0, filling)))


def unknown_result_type(lines: list[Line], *, line: int = 1, type: str = "postponed") -> list[Line]:  # noqa: A002
    """Set an unknown `result.type`, with nothing else in the result."""
    index = _index(lines, line)
    raw = json.dumps({"custom_id": lines[index].custom_id, "result": {"type": type}}).encode() + b"\n"
    return [*lines[:index], Line(lines[index].custom_id, type, raw), *lines[index + 1 :]]


def unknown_stop_reason(lines: list[Line], *, line: int = 1, stop_reason: str = "tired") -> list[Line]:
    return _changed(lines, line, lambda message: message.update(stop_reason=stop_reason))


def unknown_block(lines: list[Line], *, line: int = 1, type: str = "hologram") -> list[Line]:  # noqa: A002
    return _changed(lines, line, lambda message: message["content"].insert(0, {"type": type, "data": {"x": 1}}))


def unknown_usage_key(lines: list[Line], *, line: int = 1, key: str = "novel_input_tokens") -> list[Line]:
    return _changed(lines, line, lambda message: message["usage"].update({key: 7}))


def _odd_text(json_text: str) -> Callable[..., list[Line]]:
    """Return a fault that uses the string in a text, as another value, or as a key."""

    def spoil(lines: list[Line], *, line: int = 1, where: Where = "text") -> list[Line]:
        def change(message: dict[str, Any]) -> None:
            match where:
                case "text":
                    message["content"].append({"type": "text", "text": PLACE})
                case "value":
                    message["odd"] = PLACE
                case "key":
                    message["odd"] = {PLACE: 1}
                case _:
                    raise ValueError(f"where is {where!r}: it must be text, value or key")

        return _changed(lines, line, change, json_text=json_text)

    return spoil


def _odd_value(json_text: str) -> Callable[..., list[Line]]:
    def spoil(lines: list[Line], *, line: int = 1) -> list[Line]:
        return _changed(lines, line, lambda message: message.update(odd=PLACE), json_text=json_text)

    return spoil


def _changed(
    lines: list[Line], line: int, change: Callable[[dict[str, Any]], None], *, json_text: str = ""
) -> list[Line]:
    """Return the lines with that line's message changed, and `PLACE` replaced by `json_text`."""
    index = _index(lines, line)
    document = json.loads(lines[index].raw)
    change(document["result"]["message"])
    raw = json.dumps(document, separators=(",", ":")).replace(json.dumps(PLACE), json_text).encode() + b"\n"
    return [*lines[:index], lines[index]._replace(raw=raw), *lines[index + 1 :]]


def _index(lines: list[Line], line: int) -> int:
    """Return the index of the line-th succeeded line."""
    succeeded = [index for index, each in enumerate(lines) if each.type == "succeeded"]
    if line > len(succeeded):
        raise LookupError(f"there is no succeeded line {line}: {len(succeeded)} of {len(lines)} lines are")
    return succeeded[line - 1]


CHANGES: dict[str, Callable[..., list[Line]]] = {
    change.__name__: change
    for change in (huge_line, unknown_result_type, unknown_stop_reason, unknown_block, unknown_usage_key)
} | {name: (_odd_text if text.startswith('"') else _odd_value)(text) for name, text in ODD.items()}
FAULTS = {name: Fault(on_lines(change), ("results",)) for name, change in CHANGES.items()}
