"""The settings that apply to all accounts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django_claude_batches.conf.validation import (
    ConfigurationError,
    count,
    duration,
    limit,
    one_of,
    positive,
    refuse_unknown,
    setting,
)
from django_claude_batches.pricing import PriceTable, bundled
from django_claude_batches.wire import WHOLE_STOP_REASONS

RETENTION_DEFAULTS: dict[str, Any] = {"REQUEST_BODIES": None, "RESULT_BODIES": None, "REMOTE_COPIES": None}

# Databases cannot subtract arbitrarily large intervals.
MAX_RETENTION = timedelta(days=36_500)

# Stop reasons with an outcome of their own.
NEVER_WHOLE = frozenset({"max_tokens", "refusal"})

# For SEND_DEADLINE and CREATE_READ_TIMEOUT, as for an account's TIMEOUTS: some systems' sockets refuse more.
MAX_CALL = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Retention:
    """How long each is kept after its batch was finished; None: for ever."""

    request_bodies: timedelta | None
    result_bodies: timedelta | None
    remote_copies: timedelta | None

    @property
    def is_for_ever(self) -> bool:
        return self.request_bodies is None and self.result_bodies is None and self.remote_copies is None


def kick() -> bool:
    """Return whether an entry point sends one tick on commit; False never uses a broker."""
    return bool(setting("KICK"))


def send_deadline() -> timedelta:
    """Return how long after `sent_at` a create call may still be sending its body."""
    return _within_a_day("SEND_DEADLINE")


def create_read_timeout() -> timedelta:
    """Return how long a create call waits for its answer after the last byte of its body was sent."""
    return _within_a_day("CREATE_READ_TIMEOUT")


def submit_quiet_period() -> timedelta:
    """Return how long no batch may appear at Anthropic before a lost submission counts as not received."""
    return duration("SUBMIT_QUIET_PERIOD")


def on_not_created() -> str:
    return one_of(setting("ON_NOT_CREATED"), ("retry", "hold"), 'CLAUDE_BATCHES["ON_NOT_CREATED"]')


def installation() -> str:
    """Return the name of this installation; if empty, a copy of the database is not detected."""
    name = setting("INSTALLATION")
    if not isinstance(name, str) or len(name) > 100:
        raise ConfigurationError('CLAUDE_BATCHES["INSTALLATION"] must be a text of at most 100 characters.')
    return name


def announce_attempts() -> int:
    return count("ANNOUNCE_ATTEMPTS")


def ingest_attempts() -> int:
    return count("INGEST_ATTEMPTS")


def retention() -> Retention:
    """Return how long request bodies, result bodies and the copies at Anthropic are kept."""
    given = setting("RETENTION")
    where = 'CLAUDE_BATCHES["RETENTION"]'
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"{where} must be a dictionary, not {type(given).__name__}.")
    refuse_unknown(given, RETENTION_DEFAULTS, where)
    kept = {**RETENTION_DEFAULTS, **given}
    return Retention(**{name.lower(): _kept_for(value, f'{where}["{name}"]') for name, value in kept.items()})


def prices() -> PriceTable:
    """Return the bundled prices, with those of the settings replacing or extending them."""
    given = setting("PRICES")
    if not isinstance(given, Mapping):
        raise ConfigurationError(f'CLAUDE_BATCHES["PRICES"] must be a dictionary, not {type(given).__name__}.')
    try:
        return bundled().replaced(given) if given else bundled()
    except ValueError as error:
        problem = str(error)
    raise ConfigurationError(f'CLAUDE_BATCHES["PRICES"]: {problem}.')


def whole_stop_reasons() -> frozenset[str]:
    """Return the stop reasons of complete answers: the API's, and those of the settings. Empty text: there was none."""
    given = setting("WHOLE_STOP_REASONS")
    where = 'CLAUDE_BATCHES["WHOLE_STOP_REASONS"]'
    if not isinstance(given, (list, tuple, set, frozenset)) or not all(isinstance(reason, str) for reason in given):
        raise ConfigurationError(f"{where} must be a list of texts.")
    if never := sorted(NEVER_WHOLE.intersection(given)):
        raise ConfigurationError(f'{where} cannot have "{never[0]}": such an answer is always truncated or refused.')
    return WHOLE_STOP_REASONS.union(given)


def max_in_flight_requests() -> int | None:
    """Return how many requests of an account may be in Anthropic's queue before runs wait; None: unlimited.

    The default is the limit of the lowest paid tier (docs/reference/wire.md §4).
    """
    return None if setting("MAX_IN_FLIGHT_REQUESTS") is None else count("MAX_IN_FLIGHT_REQUESTS")


def confirm_above_usd() -> Decimal | None:
    """Return the estimate in USD above which a person must type the number of requests; None: never."""
    return limit("CONFIRM_ABOVE_USD")


def confirm_above_requests() -> Decimal | None:
    """Return the number of requests above which a person must type it; None: never."""
    return limit("CONFIRM_ABOVE_REQUESTS")


def _within_a_day(name: str) -> timedelta:
    value = duration(name)
    if value > MAX_CALL:
        raise ConfigurationError(f'CLAUDE_BATCHES["{name}"] must be a day at most.')
    return value


def _kept_for(value: Any, where: str) -> timedelta | None:
    kept_for = None if value is None else positive(value, where, or_else=" or None, which is for ever")
    if kept_for is not None and kept_for > MAX_RETENTION:
        raise ConfigurationError(f"{where} must be 100 years at most; None is for ever.")
    return kept_for
