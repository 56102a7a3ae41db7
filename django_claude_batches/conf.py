"""The settings: one dictionary, `CLAUDE_BATCHES`, read when it is used.

Each function reads one thing, checks it, and says what is wrong with it in a ConfigurationError. Error reports print
the locals of each frame, so none is raised from a frame that holds the settings: they may hold a key.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from django_claude_batches.pricing import PriceTable, bundled

_T = TypeVar("_T")

DEFAULT_ACCOUNT = "default"
DEFAULT_BASE_URL = "https://api.anthropic.com"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
API_VERSIONS = ("2023-06-01", "2026-10-21")
AUTH_FORMS = ("bearer", "x-api-key")

DEFAULTS: dict[str, Any] = {
    "ACCOUNTS": {},
    "KICK": True,
    "SUBMIT_QUIET_PERIOD": timedelta(minutes=30),
    "SEND_DEADLINE": timedelta(seconds=600),
    "ON_NOT_CREATED": "retry",
    "INSTALLATION": "",
    "ANNOUNCE_ATTEMPTS": 5,
    "INGEST_ATTEMPTS": 5,
    "RETENTION": {},
    "PRICES": {},
}

RETENTION_DEFAULTS: dict[str, Any] = {"REQUEST_BODIES": None, "RESULT_BODIES": None, "REMOTE_COPIES": None}

LONGEST_RETENTION = timedelta(days=36_500)
"""Databases cannot count back any number of years."""

ACCOUNT_DEFAULTS: dict[str, Any] = {
    "API_KEY": None,
    "BASE_URL": None,
    "WORKSPACE_ID": None,
    "AUTH": "bearer",
    "ANTHROPIC_VERSION": "2023-06-01",
    "TIMEOUTS": (10.0, 60.0),
    "PROXIES": None,
    "VERIFY": True,
}


class ConfigurationError(ImproperlyConfigured):
    """A setting is wrong. Outside the family of `exceptions` on purpose: no `except ClaudeBatchesError` hides it."""


@dataclass(frozen=True, slots=True)
class Account:
    """How one account is reached. The key is asked for when it is used, never shown and never stored."""

    alias: str
    base_url: str
    workspace_id: str | None
    auth: str
    anthropic_version: str
    timeouts: tuple[float, float]
    proxies: Mapping[str, str] | None
    verify: bool | str
    _key: str | Callable[[], str] | None = field(repr=False)

    @property
    def api_key(self) -> str:
        """Raise ConfigurationError where there is none."""
        key = self._called(self._key) if callable(self._key) else self._key
        if not isinstance(key, str) or not key.strip():
            raise ConfigurationError(
                f'No API key for account "{self.alias}". Set '
                f"{'ANTHROPIC_API_KEY or ' if self.alias == DEFAULT_ACCOUNT else ''}"
                f'CLAUDE_BATCHES["ACCOUNTS"]["{self.alias}"]["API_KEY"].'
            )
        return key.strip()

    def _called(self, key: Callable[[], str]) -> str:
        try:
            return key()
        except Exception as error:  # noqa: BLE001 (whatever a vault raises is about this account, and stops no other)
            problem = f"{type(error).__name__}: {error}"
        raise ConfigurationError(f'The API_KEY of account "{self.alias}" could not be asked for: {problem}')


@dataclass(frozen=True, slots=True)
class Retention:
    """How long each is kept after its batch was finished; None: for ever."""

    request_bodies: timedelta | None
    result_bodies: timedelta | None
    remote_copies: timedelta | None

    @property
    def is_for_ever(self) -> bool:
        return self.request_bodies is None and self.result_bodies is None and self.remote_copies is None


def account(alias: str) -> Account:
    """Give an account of the settings; raise ConfigurationError for one that they do not name."""
    return _outside(lambda: _account(alias))


def accounts() -> list[str]:
    """Give the aliases of the accounts; `default` is always one of them."""
    return _outside(lambda: list(_accounts()))


def kick() -> bool:
    """Whether an entry point sends one tick on commit; False never touches a broker."""
    return bool(_setting("KICK"))


def send_deadline() -> timedelta:
    """How long after `sent_at` a create call may still be writing its body."""
    return _duration("SEND_DEADLINE")


def submit_quiet_period() -> timedelta:
    """How long nothing must appear at Anthropic before a lost submission counts as not received."""
    return _duration("SUBMIT_QUIET_PERIOD")


def on_not_created() -> str:
    return _one_of(_setting("ON_NOT_CREATED"), ("retry", "hold"), 'CLAUDE_BATCHES["ON_NOT_CREATED"]')


def installation() -> str:
    """The name of this installation; empty: a copy of the database is not told from its original."""
    name = _setting("INSTALLATION")
    if not isinstance(name, str) or len(name) > 100:
        raise ConfigurationError('CLAUDE_BATCHES["INSTALLATION"] must be a text of at most 100 characters.')
    return name


def announce_attempts() -> int:
    return _count("ANNOUNCE_ATTEMPTS")


def ingest_attempts() -> int:
    return _count("INGEST_ATTEMPTS")


def retention() -> Retention:
    """How long request bodies, result bodies and the copies at Anthropic are kept."""
    given = _setting("RETENTION")
    where = 'CLAUDE_BATCHES["RETENTION"]'
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"{where} must be a dictionary, not {type(given).__name__}.")
    _refuse_unknown(given, RETENTION_DEFAULTS, where)
    kept = {**RETENTION_DEFAULTS, **given}
    return Retention(**{name.lower(): _kept_for(value, f'{where}["{name}"]') for name, value in kept.items()})


def prices() -> PriceTable:
    """The prices that come with this package, and yours instead of or beside them."""
    given = _setting("PRICES")
    if not isinstance(given, Mapping):
        raise ConfigurationError(f'CLAUDE_BATCHES["PRICES"] must be a dictionary, not {type(given).__name__}.')
    try:
        return bundled().replaced(given) if given else bundled()
    except ValueError as error:
        problem = str(error)
    raise ConfigurationError(f'CLAUDE_BATCHES["PRICES"]: {problem}.')


def _kept_for(value: Any, where: str) -> timedelta | None:
    duration = None if value is None else _positive(value, where, or_else=" or None, which is for ever")
    if duration is not None and duration > LONGEST_RETENTION:
        raise ConfigurationError(f"{where} must be 100 years at most; None is for ever.")
    return duration


def _outside(read: Callable[[], _T]) -> _T:
    """Read something, and raise what is wrong with it here, where nothing of it is in sight."""
    try:
        return read()
    except ConfigurationError as error:
        problem = str(error)
    raise ConfigurationError(problem)


def _setting(name: str) -> Any:
    return _outside(lambda: _settings().get(name, DEFAULTS[name]))


def _settings() -> Mapping[str, Any]:
    given = getattr(settings, "CLAUDE_BATCHES", {})
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"CLAUDE_BATCHES must be a dictionary, not {type(given).__name__}.")
    _refuse_unknown(given, DEFAULTS, "CLAUDE_BATCHES")
    return given


def _accounts() -> dict[str, Mapping[str, Any]]:
    given = _settings().get("ACCOUNTS", {})
    if not isinstance(given, Mapping) or not all(isinstance(value, Mapping) for value in given.values()):
        raise ConfigurationError('CLAUDE_BATCHES["ACCOUNTS"] must map aliases to dictionaries.')
    return {DEFAULT_ACCOUNT: {}, **given}


def _account(alias: str) -> Account:
    known = _accounts()
    if alias not in known:
        raise ConfigurationError(
            f'Unknown account "{alias}"{_did_you_mean(alias, known) or "."} CLAUDE_BATCHES["ACCOUNTS"] has: '
            f"{', '.join(sorted(known))}."
        )
    given = known[alias]
    where = f'CLAUDE_BATCHES["ACCOUNTS"]["{alias}"]'
    _refuse_unknown(given, ACCOUNT_DEFAULTS, where)
    merged = {**ACCOUNT_DEFAULTS, **given}
    of_environment = os.environ.get if alias == DEFAULT_ACCOUNT else _nothing
    return Account(
        alias=alias,
        base_url=(merged["BASE_URL"] or os.environ.get("ANTHROPIC_BASE_URL") or DEFAULT_BASE_URL).rstrip("/"),
        workspace_id=merged["WORKSPACE_ID"] or of_environment("ANTHROPIC_WORKSPACE_ID") or None,
        auth=_one_of(merged["AUTH"], AUTH_FORMS, f'{where}["AUTH"]'),
        anthropic_version=_one_of(merged["ANTHROPIC_VERSION"], API_VERSIONS, f'{where}["ANTHROPIC_VERSION"]'),
        timeouts=_timeouts(merged["TIMEOUTS"], f'{where}["TIMEOUTS"]'),
        proxies=merged["PROXIES"],
        verify=merged["VERIFY"],
        _key=_resolved_key(merged["API_KEY"], where) or of_environment("ANTHROPIC_API_KEY"),
    )


def _refuse_unknown(given: Mapping[str, Any], known: Mapping[str, Any], where: str) -> None:
    for key in given:
        if key not in known:
            raise ConfigurationError(
                f'{where} has no setting "{key}"{_did_you_mean(key, known) or "."} It knows: {", ".join(known)}.'
            )


def _did_you_mean(word: Any, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(str(word).upper(), [key.upper() for key in known], n=1)
    matches = [key for key in known if near and key.upper() == near[0]]
    return f': did you mean "{matches[0]}"?' if matches else ""


def _resolved_key(given: Any, where: str) -> str | Callable[[], str] | None:
    """Give the key, or what makes it. Text with dots and no dashes is a dotted path: keys have dashes, and no dots."""
    if given is None:
        return None
    if callable(given):
        made: Callable[[], str] = given
        return made
    if not isinstance(given, str):
        raise ConfigurationError(f'{where}["API_KEY"] must be a text, a callable or a dotted path.')
    if "." not in given or "-" in given:
        return given
    try:
        found = import_string(given)
    except ImportError:
        # Not its words: a key with dots in it may have been taken for a path.
        raise ConfigurationError(f'{where}["API_KEY"] is a dotted path that cannot be imported.') from None
    return found if callable(found) else str(found)


def _one_of(value: Any, allowed: tuple[str, ...], where: str) -> str:
    if value not in allowed:
        raise ConfigurationError(f"{where} must be one of {', '.join(allowed)}, not {value!r}.")
    return str(value)


def _timeouts(value: Any, where: str) -> tuple[float, float]:
    try:
        connect, read = map(float, value)
    except (TypeError, ValueError):
        connect = read = 0
    if connect <= 0 or read <= 0:
        raise ConfigurationError(f"{where} must be two positive numbers of seconds: (connect, read).")
    return connect, read


def _duration(name: str) -> timedelta:
    return _positive(_setting(name), f'CLAUDE_BATCHES["{name}"]')


def _positive(value: Any, where: str, *, or_else: str = "") -> timedelta:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            value = timedelta(seconds=value)
        except (OverflowError, ValueError):  # beyond what a timedelta holds; not a number
            value = None
    if not isinstance(value, timedelta) or value <= timedelta(0):
        raise ConfigurationError(f"{where} must be a positive timedelta or number of seconds{or_else}.")
    return value


def _count(name: str) -> int:
    value = _setting(name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(f'CLAUDE_BATCHES["{name}"] must be a whole number from 1.')
    return value


def _nothing(_name: str) -> None:
    return None
