"""Decode JSON, and refuse repeated keys."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any


def decoded(data: bytes) -> Any:
    """Decode JSON in UTF-8; raise ValueError, whose text says what is wrong and where."""
    try:
        return json.loads(data.decode(), object_pairs_hook=members)
    except UnicodeDecodeError as error:
        problem = f"not UTF-8: byte 0x{data[error.start]:02x} at {error.start + 1}"
    except json.JSONDecodeError as error:
        problem = f"not JSON: {error.msg} at character {error.pos + 1}"
    except (ValueError, RecursionError) as error:
        problem = f"not JSON that can be read: {error}"
    raise ValueError(problem)


def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object for `json.loads`; raise ValueError for a repeated key, of which Python keeps only the last."""
    made = dict(pairs)
    if len(made) < len(pairs):
        counts = Counter(key for key, _value in pairs)
        repeated = next(key for key in made if counts[key] > 1)
        raise ValueError(f"the key {repeated!r:.80} occurs twice in one object")
    return made
