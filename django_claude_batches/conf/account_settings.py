"""The settings of one account: URL, key, timeouts."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from django.utils.module_loading import import_string

from django_claude_batches import sanitize
from django_claude_batches.conf.validation import (
    ConfigurationError,
    all_settings,
    did_you_mean,
    one_of,
    refuse_unknown,
    reraise_without_locals,
)
from django_claude_batches.wire import WORKSPACE_ID_PATTERN

DEFAULT_ACCOUNT = "default"
DEFAULT_BASE_URL = "https://api.anthropic.com"
API_VERSIONS = ("2023-06-01", "2026-10-21")
AUTH_FORMS = ("bearer", "x-api-key")
MAX_ALIAS = 64
# Seconds. Sockets refuse larger numbers.
MAX_TIMEOUT = 86_400

# Bytes per second.
MAX_RATE = 1_000_000_000

ACCOUNT_DEFAULTS: dict[str, Any] = {
    "API_KEY": None,
    "BASE_URL": None,
    "WORKSPACE_ID": None,
    "AUTH": "bearer",
    "ANTHROPIC_VERSION": "2023-06-01",
    "TIMEOUTS": (10.0, 50.0),
    "TOTAL_TIMEOUT": None,
    "MIN_RESULTS_RATE": 1000,
    "PROXIES": None,
    "VERIFY": True,
    "ALLOW_HTTP": False,
    "SHARED": False,
}


@dataclass(frozen=True, slots=True)
class Account:
    """The settings of one account. The key is read when it is used, never shown and never stored."""

    alias: str
    base_url: str
    workspace_id: str | None
    auth: str
    anthropic_version: str
    timeouts: tuple[float, float]
    total_timeout: float | None
    min_results_rate: float
    proxies: Mapping[str, str] | None = field(repr=False)  # their URLs may hold a password
    verify: bool | str
    allow_http: bool
    # Whether others create batches with the same key or in its Workspace; listings then contain theirs too.
    is_shared: bool
    # The setting or environment variable that the key comes from; empty without a key.
    key_setting: str
    _key: str | Callable[[], str] | None = field(repr=False)

    @property
    def api_key(self) -> str:
        """Return the key; raise ConfigurationError if there is none."""
        key = self._called(self._key) if callable(self._key) else self._key
        kind = type(key).__name__
        if isinstance(key, str) and key.strip():
            return key.strip()
        del key  # it may be a key as bytes: keep it out of error reports
        if kind not in ("str", "NoneType"):
            raise ConfigurationError(f'The API_KEY of account "{self.alias}" must be a text, not {kind}.')
        raise ConfigurationError(
            f'No API key for account "{self.alias}". Set '
            f"{'ANTHROPIC_API_KEY or ' if self.alias == DEFAULT_ACCOUNT else ''}"
            f'CLAUDE_BATCHES["ACCOUNTS"]["{self.alias}"]["API_KEY"].'
        )

    @property
    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that tell two servers, Workspaces or keys apart, and give none away."""
        parts = ["django_claude_batches", self.base_url, self.workspace_id or "", self.api_key]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    def _called(self, key: Callable[[], str]) -> str:
        try:
            return key()
        except Exception as error:  # noqa: BLE001 (any error of a vault concerns only this account)
            kind = type(error).__name__
        del key  # a partial's repr shows its arguments
        raise ConfigurationError(
            f'The API_KEY of account "{self.alias}" could not be asked for: {kind}. Its text may hold the key, so '
            "it is not shown: call the callable in `manage.py shell`, or look into the log of where the key is kept."
        )


def account(alias: str) -> Account:
    """Return an account of the settings; raise ConfigurationError for an unknown one."""
    return reraise_without_locals(lambda: _account(alias))


def accounts() -> list[str]:
    """Return the aliases of the accounts; `default` is always one of them. Invalid aliases are left out."""
    return reraise_without_locals(lambda: list(_valid_accounts()))


def every_alias() -> list[Any]:
    """Return all aliases in the settings, for a check; `account` reports what is wrong with each."""
    return reraise_without_locals(lambda: list(_accounts()))


def _accounts() -> dict[Any, Any]:
    given = all_settings().get("ACCOUNTS", {})
    if not isinstance(given, Mapping):
        raise ConfigurationError('CLAUDE_BATCHES["ACCOUNTS"] must map aliases to dictionaries.')
    return {DEFAULT_ACCOUNT: {}, **given}


def _valid_accounts() -> dict[str, Any]:
    return {alias: given for alias, given in _accounts().items() if _can_be_alias(alias)}


def _can_be_alias(alias: object) -> bool:
    return isinstance(alias, str) and 0 < len(alias) <= MAX_ALIAS and alias == sanitize.text(alias)


def _account(alias: str) -> Account:
    known = _valid_accounts()
    if not _can_be_alias(alias):
        raise ConfigurationError(
            f'The alias {alias!r:.80} in CLAUDE_BATCHES["ACCOUNTS"] must be a text of 1 to {MAX_ALIAS} characters.'
        )
    if alias not in known:
        raise ConfigurationError(
            f'Unknown account "{alias}"{did_you_mean(alias, known) or "."} CLAUDE_BATCHES["ACCOUNTS"] has: '
            f"{', '.join(sorted(known))}."
        )
    given = known[alias]
    where = f'CLAUDE_BATCHES["ACCOUNTS"]["{alias}"]'
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"{where} must be a dictionary, not {type(given).__name__}.")
    refuse_unknown(given, ACCOUNT_DEFAULTS, where)
    merged = {**ACCOUNT_DEFAULTS, **given}
    environment: Mapping[str, str] = os.environ if alias == DEFAULT_ACCOUNT else {}
    own_key, key_of_environment = _resolved_key(merged["API_KEY"], where), environment.get("ANTHROPIC_API_KEY")
    return Account(
        alias=alias,
        base_url=_base_url(merged["BASE_URL"] or os.environ.get("ANTHROPIC_BASE_URL") or DEFAULT_BASE_URL, where),
        workspace_id=_workspace_id(
            merged["WORKSPACE_ID"] or environment.get("ANTHROPIC_WORKSPACE_ID"), f'{where}["WORKSPACE_ID"]'
        ),
        auth=one_of(merged["AUTH"], AUTH_FORMS, f'{where}["AUTH"]'),
        anthropic_version=one_of(merged["ANTHROPIC_VERSION"], API_VERSIONS, f'{where}["ANTHROPIC_VERSION"]'),
        timeouts=_timeouts(merged["TIMEOUTS"], f'{where}["TIMEOUTS"]'),
        total_timeout=_total_timeout(merged["TOTAL_TIMEOUT"], f'{where}["TOTAL_TIMEOUT"]'),
        min_results_rate=_min_results_rate(merged["MIN_RESULTS_RATE"], f'{where}["MIN_RESULTS_RATE"]'),
        proxies=_proxies(merged["PROXIES"], f'{where}["PROXIES"]'),
        verify=_verify(merged["VERIFY"], f'{where}["VERIFY"]'),
        allow_http=_boolean(merged["ALLOW_HTTP"], f'{where}["ALLOW_HTTP"]'),
        is_shared=_boolean(merged["SHARED"], f'{where}["SHARED"]'),
        key_setting=f'{where}["API_KEY"]' if own_key else "ANTHROPIC_API_KEY" if key_of_environment else "",
        _key=own_key or key_of_environment,
    )


def _resolved_key(given: Any, where: str) -> str | Callable[[], str] | None:
    """Return the key, or a callable for it.

    Text with dots and no dashes is a dotted path: keys have dashes, and no dots.
    """
    if given is None:
        return None
    if callable(given):
        made: Callable[[], str] = given
        return made
    if not isinstance(given, str):
        raise ConfigurationError(f'{where}["API_KEY"] must be a text, a callable or a dotted path.')
    if "." not in given or "-" in given:
        if not re.fullmatch(r"\s*[\x21-\x7e]*\s*", given):
            raise ConfigurationError(f'{where}["API_KEY"] holds characters that cannot stand in a header.')
        return given
    try:
        found = import_string(given)
    except Exception:  # noqa: BLE001 (any error of its module concerns only this account)
        # Not the error's text: a key with dots in it may have been mistaken for a path.
        raise ConfigurationError(f'{where}["API_KEY"] is a dotted path that cannot be imported.') from None
    key: str | Callable[[], str] | None = found
    return key


def _base_url(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise ConfigurationError(f'{where}["BASE_URL"] must be a text, not {type(value).__name__}.')
    if "@" in value:
        raise ConfigurationError(f'{where}["BASE_URL"] must not hold a user or a password.')
    return value.rstrip("/").removesuffix("/v1")  # as BatchesClient does: other libraries require it


def _workspace_id(value: Any, where: str) -> str | None:
    if not value:
        return None
    if not isinstance(value, str) or not WORKSPACE_ID_PATTERN.fullmatch(value):
        raise ConfigurationError(f"{where} must be a Workspace's id, like wrkspc_01…, or None.")
    return value


def _timeouts(value: Any, where: str) -> tuple[float, float]:
    pair = tuple(value) if isinstance(value, (tuple, list)) else ()
    if len(pair) != 2 or not all(_is_timeout(seconds) for seconds in pair):
        raise ConfigurationError(
            f"{where} must be two positive numbers of seconds: (connect, read), each at most {MAX_TIMEOUT:,}."
        )
    connect, read = pair
    return float(connect), float(read)


def _is_timeout(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= MAX_TIMEOUT


def _total_timeout(value: Any, where: str) -> float | None:
    if value is None:
        return None
    if not _is_timeout(value):
        raise ConfigurationError(f"{where} must be a positive number of seconds, at most {MAX_TIMEOUT:,}, or None.")
    return float(value)


def _min_results_rate(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= MAX_RATE:
        raise ConfigurationError(f"{where} must be a number of bytes per second, 0 to {MAX_RATE:,}.")
    return float(value)


def _proxies(value: Any, where: str) -> Mapping[str, str] | None:
    """Validate proxies in the form of requests. The values may hold a password, so no error shows one."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise ConfigurationError(
            f'{where} must be a dictionary, such as {{"https": "http://proxy:3128"}}, or None, not '
            f"{type(value).__name__}."
        )
    for key, url in value.items():
        if not isinstance(key, str) or not isinstance(url, str) or not _is_url(url):
            raise ConfigurationError(
                f'{where} must map schemes to the URLs of proxies, such as {{"https": "http://proxy:3128"}}.'
            )
    return value


def _verify(value: Any, where: str) -> bool | str:
    if isinstance(value, bool) or (isinstance(value, str) and value):
        return value
    raise ConfigurationError(f"{where} must be True, False, or the path of a certificate authority's bundle.")


def _boolean(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise ConfigurationError(f"{where} must be True or False.")
    return value


def _is_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
        return bool(parts.scheme and parts.hostname) and parts.port != 0
    except ValueError:  # an extra bracket, an invalid port
        return False
