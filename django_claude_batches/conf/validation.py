"""Read and validate values of `CLAUDE_BATCHES`.

Error reports print the locals of each frame, so no ConfigurationError is raised from a frame that holds the settings:
they may hold a key.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

_T = TypeVar("_T")

DEFAULTS: dict[str, Any] = {
    "ACCOUNTS": {},
    "KICK": True,
    "SUBMIT_QUIET_PERIOD": timedelta(minutes=30),
    "SEND_DEADLINE": timedelta(seconds=600),
    "CREATE_READ_TIMEOUT": timedelta(seconds=600),
    "ON_NOT_CREATED": "retry",
    "INSTALLATION": "",
    "ANNOUNCE_ATTEMPTS": 5,
    "INGEST_ATTEMPTS": 5,
    "RETENTION": {},
    "PRICES": {},
    "WHOLE_STOP_REASONS": (),
    "MAX_IN_FLIGHT_REQUESTS": 200_000,
    "CONFIRM_ABOVE_USD": 100,
    "CONFIRM_ABOVE_REQUESTS": 10000,
}


class ConfigurationError(ImproperlyConfigured):
    """A setting is wrong. Not a ClaudeBatchesError on purpose: no `except ClaudeBatchesError` hides it."""


def reraise_without_locals(read: Callable[[], _T]) -> _T:
    """Call `read`, and raise its ConfigurationError from this frame, which has none of its values."""
    try:
        return read()
    except ConfigurationError as error:
        problem = str(error)
    raise ConfigurationError(problem)


def setting(name: str) -> Any:
    return reraise_without_locals(lambda: all_settings().get(name, DEFAULTS[name]))


def all_settings() -> Mapping[str, Any]:
    given = getattr(settings, "CLAUDE_BATCHES", {})
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"CLAUDE_BATCHES must be a dictionary, not {type(given).__name__}.")
    refuse_unknown(given, DEFAULTS, "CLAUDE_BATCHES")
    return given


def refuse_unknown(given: Mapping[str, Any], known: Mapping[str, Any], where: str) -> None:
    for key in given:
        if key not in known:
            raise ConfigurationError(
                f'{where} has no setting "{key}"{did_you_mean(key, known) or "."} It knows: {", ".join(known)}.'
            )


def did_you_mean(word: Any, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(str(word).upper(), [key.upper() for key in known], n=1)
    matches = [key for key in known if near and key.upper() == near[0]]
    return f': did you mean "{matches[0]}"?' if matches else ""


def one_of(value: Any, allowed: tuple[str, ...], where: str) -> str:
    if value not in allowed:
        raise ConfigurationError(f"{where} must be one of {', '.join(allowed)}, not {value!r}.")
    return str(value)


def duration(name: str) -> timedelta:
    return positive(setting(name), f'CLAUDE_BATCHES["{name}"]')


def positive(value: Any, where: str, *, or_else: str = "") -> timedelta:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            value = timedelta(seconds=value)
        except (OverflowError, ValueError):  # beyond what a timedelta holds; not a number
            value = None
    if not isinstance(value, timedelta) or value <= timedelta(0):
        raise ConfigurationError(f"{where} must be a positive timedelta or number of seconds{or_else}.")
    return value


def count(name: str) -> int:
    value = setting(name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(f'CLAUDE_BATCHES["{name}"] must be a whole number from 1.')
    return value


def limit(name: str) -> Decimal | None:
    """Return a number above which confirmation is required; None: never."""
    value = setting(name)
    if value is None:
        return None
    try:
        number = None if isinstance(value, bool) else Decimal(str(value))
    except InvalidOperation:
        number = None
    if number is None or not number.is_finite() or number < 0:
        raise ConfigurationError(f'CLAUDE_BATCHES["{name}"] must be a number from 0, or None, which is never.')
    return number
