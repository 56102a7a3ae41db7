"""Params as the JSON text that will be sent, or the place of what cannot be sent as it is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from django_claude_batches.exceptions import InvalidRequest

MAX_DEPTH = 500
"""Levels of nesting. Python 3.11 reads some 1,000 less its stack: what is stored must be readable in any process."""

MAX_PATH_LENGTH = 80
# Keys that the message of an error quotes. Other keys may be part of a prompt.
QUOTABLE_KEY = re.compile(r"[A-Za-z_]\w{,39}", re.ASCII)

CONTAINERS = (dict, list, tuple)

Path = tuple[Any, ...]


class NotPlain(Exception):
    """To encode it may run code of others: it has a dict or a list of a class of theirs."""


def plain_copy(value: Any, sizes: list[int]) -> Any:
    """Give a dict or a list as one of our own with all in it, so that it stays as it is whatever becomes of the other.

    About how many bytes its JSON has is added to `sizes`. Raise NotPlain, or RecursionError if there is no end of it.
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
    """Give the compact JSON text; raise InvalidRequest, naming the place, where there is none."""
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


def _text(value: Any) -> str:
    text = _dump(value)
    if not text.isascii():
        text.encode()  # raises for half of a character
    return text


def _is_plain(params: Any, text: str) -> bool:
    """Say whether nothing is too deep and all keys are text: what else is encoded without complaint. Fast."""
    if text.count("[") + text.count("{") > MAX_DEPTH:
        return False
    found = [params]
    try:
        for value in found:  # which grows meanwhile
            if isinstance(value, dict):
                "".join(value)  # raises for a key that is no text
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
    """Give every value with the keys that lead to it, each before what is in it."""
    pending: list[tuple[Path, Any]] = [((), params)]
    while pending:
        path, value = pending.pop()
        yield path, value
        pending += reversed([((*path, key), child) for key, child in _children(value)])


def _value_problem(value: Any, depth: int) -> str:
    """Say what is wrong with the value itself, or with its keys."""
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
    """Name a key: a word of the API's, of a schema, or a number."""
    return json.dumps(key) if not isinstance(key, str) or QUOTABLE_KEY.fullmatch(key) or key.isdecimal() else "…"


def _shown(path: Path) -> str:
    steps = (f".{key}" if isinstance(key, str) and QUOTABLE_KEY.fullmatch(key) else f"[{_key(key)}]" for key in path)
    shown = "params" + "".join(steps)
    return shown if len(shown) <= MAX_PATH_LENGTH else shown[:MAX_PATH_LENGTH] + "…"
