"""The accounts: how each is reached, and by which key."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils.module_loading import import_string

from django_claude_batches.conf.reading import (
    ConfigurationError,
    did_you_mean,
    one_of,
    outside,
    refuse_unknown,
    whole,
)

DEFAULT_ACCOUNT = "default"
DEFAULT_BASE_URL = "https://api.anthropic.com"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
API_VERSIONS = ("2023-06-01", "2026-10-21")
AUTH_FORMS = ("bearer", "x-api-key")

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
    key_setting: str
    """The setting, or the environment's variable, that the key comes from; empty where there is none."""
    _key: str | Callable[[], str] | None = field(repr=False)

    @property
    def api_key(self) -> str:
        """Raise ConfigurationError where there is none."""
        key = self._called(self._key) if callable(self._key) else self._key
        kind = type(key).__name__
        if isinstance(key, str) and key.strip():
            return key.strip()
        del key  # perhaps one all the same, as bytes: not for an error report
        if kind not in ("str", "NoneType"):
            raise ConfigurationError(f'The API_KEY of account "{self.alias}" must be a text, not {kind}.')
        raise ConfigurationError(
            f'No API key for account "{self.alias}". Set '
            f"{'ANTHROPIC_API_KEY or ' if self.alias == DEFAULT_ACCOUNT else ''}"
            f'CLAUDE_BATCHES["ACCOUNTS"]["{self.alias}"]["API_KEY"].'
        )

    def _called(self, key: Callable[[], str]) -> str:
        try:
            return key()
        except Exception as error:  # noqa: BLE001 (whatever a vault raises is about this account, and stops no other)
            problem = f"{type(error).__name__}: {error}"
        raise ConfigurationError(f'The API_KEY of account "{self.alias}" could not be asked for: {problem}')


def account(alias: str) -> Account:
    """Give an account of the settings; raise ConfigurationError for one that they do not name."""
    return outside(lambda: _account(alias))


def accounts() -> list[str]:
    """Give the aliases of the accounts; `default` is always one of them."""
    return outside(lambda: list(_accounts()))


def _accounts() -> dict[str, Mapping[str, Any]]:
    given = whole().get("ACCOUNTS", {})
    if not isinstance(given, Mapping) or not all(isinstance(value, Mapping) for value in given.values()):
        raise ConfigurationError('CLAUDE_BATCHES["ACCOUNTS"] must map aliases to dictionaries.')
    return {DEFAULT_ACCOUNT: {}, **given}


def _account(alias: str) -> Account:
    known = _accounts()
    if alias not in known:
        raise ConfigurationError(
            f'Unknown account "{alias}"{did_you_mean(alias, known) or "."} CLAUDE_BATCHES["ACCOUNTS"] has: '
            f"{', '.join(sorted(known))}."
        )
    given = known[alias]
    where = f'CLAUDE_BATCHES["ACCOUNTS"]["{alias}"]'
    refuse_unknown(given, ACCOUNT_DEFAULTS, where)
    merged = {**ACCOUNT_DEFAULTS, **given}
    of_environment = os.environ.get if alias == DEFAULT_ACCOUNT else _nothing
    own_key, key_of_environment = _resolved_key(merged["API_KEY"], where), of_environment("ANTHROPIC_API_KEY")
    return Account(
        alias=alias,
        base_url=_base_url(merged["BASE_URL"] or os.environ.get("ANTHROPIC_BASE_URL") or DEFAULT_BASE_URL, where),
        workspace_id=merged["WORKSPACE_ID"] or of_environment("ANTHROPIC_WORKSPACE_ID") or None,
        auth=one_of(merged["AUTH"], AUTH_FORMS, f'{where}["AUTH"]'),
        anthropic_version=one_of(merged["ANTHROPIC_VERSION"], API_VERSIONS, f'{where}["ANTHROPIC_VERSION"]'),
        timeouts=_timeouts(merged["TIMEOUTS"], f'{where}["TIMEOUTS"]'),
        proxies=merged["PROXIES"],
        verify=merged["VERIFY"],
        key_setting=f'{where}["API_KEY"]' if own_key else "ANTHROPIC_API_KEY" if key_of_environment else "",
        _key=own_key or key_of_environment,
    )


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
    except Exception:  # noqa: BLE001 (whatever its module raises is about this account, and stops no other)
        # Not its words: a key with dots in it may have been taken for a path.
        raise ConfigurationError(f'{where}["API_KEY"] is a dotted path that cannot be imported.') from None
    key: str | Callable[[], str] | None = found
    return key


def _base_url(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise ConfigurationError(f'{where}["BASE_URL"] must be a text, not {type(value).__name__}.')
    return value.rstrip("/")


def _timeouts(value: Any, where: str) -> tuple[float, float]:
    try:
        connect, read = map(float, value)
    except (TypeError, ValueError):
        connect = read = 0
    if connect <= 0 or read <= 0:
        raise ConfigurationError(f"{where} must be two positive numbers of seconds: (connect, read).")
    return connect, read


def _nothing(_name: str) -> None:
    return None
