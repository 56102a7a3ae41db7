"""Change a value of an answer in one of the ways in `HOWS`: replace, drop, retype, enlarge it and others.

Each function takes the value, the last name of its path, and a random generator, so that a seed repeats the draws.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random
from typing import Any

# Characters of a huge text: Python's HTTP client still accepts a header of that length.
HUGE = 20_000

# Elements of a huge list or object.
MANY = 2_000

# Digits of a huge number: more than a float or a column holds, fewer than Python refuses to read.
DIGITS = 400

# Other values of fields and headers, by their last name, if an arbitrary text would be less meaningful.
OTHERS: dict[str, tuple[Any, ...]] = {
    "processing_status": ("in_progress", "canceling", "ended", "paused", ""),
    "results_url": ("http://elsewhere.invalid/results", "file:///etc/passwd", "//", ""),
    "type": ("message_batch", "error", "succeeded", "errored", "canceled", "expired", "postponed", ""),
    "retry-after": ("0", "30", "100000", "-1", "soon", "Thu, 01 Jan 1970 00:00:00 GMT"),
    "x-should-retry": ("true", "false", "perhaps"),
    "content-type": ("text/html", "application/octet-stream", ";;;"),
    "content-encoding": ("gzip", "br", "unheard-of"),
    "content-length": ("0", "7", "100000000", "seven"),
}

TIMES = (
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "0000-00-00T00:00:00Z",
    "+292277026596-12-04T15:30:08Z",
    "2026-02-30T25:61:61+99:99",
)
NUMBERS = (-1, -(2**31) - 1, 2**31, 2**63, 2**64, 1.5, 1e308, float("inf"), float("-inf"), float("nan"))
DATES = (
    "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
    "Fri, 31 Dec 9999 23:59:59 -1400",
    "Mon, 01 Jan 0001 00:00:00 +1400",
    "1e400",
    "-1e400",
    "nan",
    "9" * DIGITS,
)
IS_TIME = re.compile(r"\d{4}-\d\d-\d\dT")


class Nothing:
    """A missing value."""


NOTHING = Nothing()


def replaced(value: Any, name: str, random: Random) -> Any:
    """Return another value of the same type."""
    if name in OTHERS:
        return random.choice([other for other in OTHERS[name] if other != value])
    match value:
        case bool():
            return not value
        case int() | float():
            return random.choice([value + 1, max(value - 1, 0) if value else 2, value * 2 + 3])
        case str() if IS_TIME.match(value):
            return _moved(value, random)
        case str():
            return value[:-4] + "".join(random.choices("abcdefghjkmnpqrstuvwxyz23456789", k=6))
        case list():
            return [*value[1:], {}] if value else [{}]
        case dict():
            return {key: each for key, each in value.items() if random.random() < 0.5} | {"unheard_of": 1}
        case _:
            return "2026-01-01T00:00:00.000000+00:00" if name.endswith("_at") else "something"


def _moved(value: str, random: Random) -> str:
    seconds = random.choice([-1, 1]) * random.choice([1, 60, 3600, 86_400, 40 * 86_400])
    try:
        return (datetime.fromisoformat(value) + timedelta(seconds=seconds)).isoformat()
    except (ValueError, OverflowError):
        return TIMES[0]


def retyped(value: Any, name: str, random: Random) -> Any:
    """Return a value of another type."""
    others = ["7", 7, 7.5, True, [value], {"value": value}, []]
    return random.choice([other for other in others if type(other) is not type(value)])


def huge(value: Any, name: str, random: Random) -> Any:
    """Return a text of 20,000 characters, a number of 400 digits, or a list or object of 2,000 elements."""
    match value:
        case bool() | None:
            return "x" * HUGE
        case int() | float():
            return int("9" * DIGITS)
        case str():
            return value + "x" * (HUGE - len(value))
        case list():
            return (value or [None]) * (MANY // max(len(value), 1))
        case _:
            return value | {f"key_{number}": number for number in range(MANY)}


def null(value: Any, name: str, random: Random) -> Any:
    return None


def nul(value: Any, name: str, random: Random) -> Any:
    return _pierced(value, "\0")


def surrogate(value: Any, name: str, random: Random) -> Any:
    return _pierced(value, random.choice(["\ud800", "\udfff"]))


def _pierced(value: Any, character: str) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text[: len(text) // 2] + character + text[len(text) // 2 :]


def out_of_range(value: Any, name: str, random: Random) -> Any:
    """Return a time that no datetime holds, or a number that no column holds."""
    is_time = name.endswith("_at") or (isinstance(value, str) and IS_TIME.match(value))
    return random.choice(TIMES if is_time else NUMBERS)


def dropped(value: Any, name: str, random: Random) -> Any:
    return NOTHING


HOWS: dict[str, Callable[[Any, str, Random], Any]] = {
    "replace": replaced,
    "drop": dropped,
    "retype": retyped,
    "huge": huge,
    "null": null,
    "nul": nul,
    "surrogate": surrogate,
    "out_of_range": out_of_range,
}


def bent_header_value(value: str, name: str, how: str, random: Random) -> str | None:
    """Return a header's value as it is sent, bytes as Latin-1; None leaves the header out."""
    match how:
        case "drop":
            return None
        case "null":
            return ""
        case "retype":
            return random.choice(["[]", "{}", "true", "7.5"])
        case "out_of_range":
            return random.choice(DATES)
        case _:
            return as_header(HOWS[how](value, name, random))


def as_header(value: Any) -> str:
    """Return a JSON value as the value of a header, with UTF-8 for text outside Latin-1.

    Raises ValueError if it contains a line break.
    """
    text = value if isinstance(value, str) else json.dumps(value)
    if "\r" in text or "\n" in text:
        raise ValueError(f"a header cannot contain a line break: {text!r:.80}")
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass").decode("latin-1")
    return text
