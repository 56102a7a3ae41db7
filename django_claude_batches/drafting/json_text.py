"""Encode params as JSON text. If that is not possible, the error names the place of the invalid value."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from django_claude_batches.exceptions import InvalidRequest

# Maximum levels of nesting. Every process must be able to decode the stored text; Python 3.11 decodes about 1,000
# levels, less those of its own stack.
MAX_DEPTH = 500

# Maximum bytes of a row's cells as JSON, which are stored with the request for an export.
MAX_CELLS_BYTES = 64_000

MAX_PATH_LENGTH = 80
# Keys that an error message may quote. Other keys may be part of a prompt.
QUOTABLE_KEY = re.compile(r"[A-Za-z_]\w{,39}", re.ASCII)

CONTAINERS = (dict, list, tuple)

Path = tuple[Any, ...]


class NotPlain(Exception):
    """The value contains a subclass of dict or list, so that encoding it may run code of the caller."""


def plain_copy(value: Any, sizes: list[int]) -> Any:
    """Return a deep copy of a dict or list, so that later changes of the original do not affect it.

    Append the approximate bytes of its JSON to `sizes`. Raise NotPlain, or RecursionError if the value contains itself.
    """
    if type(value) is dict:
        made: Any = value.copy()
        children: Iterable[tuple[Any, Any]] = value.items()
    elif type(value) is list or type(value) is tuple:
        made = list(value)
        children = enumerate(value)
    else:
        raise NotPlain
    size = 16 * len(made)
    for key, child in children:
        if isinstance(child, str):
            size += len(child) if child.isascii() else 3 * len(child)
        elif isinstance(child, CONTAINERS):
            made[key] = plain_copy(child, sizes)
    sizes.append(size)
    return made


def encode(params: Any) -> str:
    """Return the compact JSON text. Raise InvalidRequest, with the place of the value, if it cannot be encoded."""
    reason = ""
    try:
        text = _text(params)
    except (TypeError, ValueError, RecursionError) as error:
        reason = str(error)
    if not reason and _is_plain(params, text):
        return text
    for path, value in _walk(params):
        if trouble := _value_problem(value, len(path)):
            raise InvalidRequest(f"{_shown(path)} {trouble}")
    if reason:
        raise InvalidRequest(f"params cannot be encoded as JSON: {reason}")
    return text


_dump = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def encode_cells(cells: Any) -> str:
    """Return the cells of a table row as a JSON list. Raise InvalidRequest unless they are texts that can be kept."""
    if not isinstance(cells, (list, tuple)) or not all(isinstance(cell, str) for cell in cells):
        raise InvalidRequest("cells must be a list of texts")
    try:
        text = _dump(cells)
        size = len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError:
        raise InvalidRequest("a cell has half of a character, which UTF-8 cannot encode") from None
    if size > MAX_CELLS_BYTES:
        raise InvalidRequest(
            f"its cells have {size:,} bytes, and at most {MAX_CELLS_BYTES:,} can be kept with a request: shorten them, "
            "or do not keep the columns"
        )
    return text


def _text(value: Any) -> str:
    text = _dump(value)
    if not text.isascii():
        text.encode()  # raises for a lone surrogate
    return text


def _is_plain(params: Any, text: str) -> bool:
    """Return whether nesting and keys are valid: `json` encodes deep nesting and keys of other types silently."""
    if text.count("[") + text.count("{") > MAX_DEPTH:
        return False
    found = [params]
    try:
        for value in found:  # `found` grows in this loop
            if isinstance(value, dict):
                "".join(value)  # raises for a key that is not text
                value = value.values()  # noqa: PLW2901
            found += [child for child in value if isinstance(child, CONTAINERS)]
    except TypeError:
        return False
    return True


def _children(value: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(value, dict):
        return value.items()
    return enumerate(value) if isinstance(value, (list, tuple)) else ()


def _walk(params: Any) -> Iterator[tuple[Path, Any]]:
    """Yield every value with the keys that lead to it; a container comes before its content."""
    pending: list[tuple[Path, Any]] = [((), params)]
    while pending:
        path, value = pending.pop()
        yield path, value
        pending += reversed([((*path, key), child) for key, child in _children(value)])


def _value_problem(value: Any, depth: int) -> str:
    """Return what is wrong with the value itself or with its keys; empty if they are valid."""
    if isinstance(value, dict) and (trouble := _key_problem(value)):
        return trouble
    if isinstance(value, CONTAINERS):
        return f"cannot be encoded as JSON: nested more than {MAX_DEPTH} levels deep" if depth >= MAX_DEPTH else ""
    return _why(value, "holds")


def _key_problem(value: dict[Any, Any]) -> str:
    seen: set[str] = set()
    for key in value:
        if why := _why({key: None}, "has a key with"):
            return why
        (name,) = json.loads(_text({key: None}))
        if name in seen:
            return f"cannot be encoded as JSON: the key {_key(name)} occurs twice"
        seen.add(name)
    return ""


def _why(value: Any, verb: str) -> str:
    try:
        _text(value)
    except UnicodeEncodeError as error:
        return f"{verb} U+{ord(error.object[error.start]):04X}, half of a character, which UTF-8 cannot encode"
    except (TypeError, ValueError, RecursionError) as error:
        return f"cannot be encoded as JSON: {error}"
    return ""


def _key(key: Any) -> str:
    """Return the key as JSON if it is a plain name or a number; otherwise "…", because it may be part of a prompt."""
    return json.dumps(key) if not isinstance(key, str) or QUOTABLE_KEY.fullmatch(key) or key.isdecimal() else "…"


def _shown(path: Path) -> str:
    steps = (f".{key}" if isinstance(key, str) and QUOTABLE_KEY.fullmatch(key) else f"[{_key(key)}]" for key in path)
    shown = "params" + "".join(steps)
    return shown if len(shown) <= MAX_PATH_LENGTH else shown[:MAX_PATH_LENGTH] + "…"
