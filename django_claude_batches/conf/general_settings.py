"""What is set once, for all accounts."""

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

MAX_RETENTION = timedelta(days=36_500)
"""Databases cannot count back any number of years."""

NEVER_WHOLE = frozenset({"max_tokens", "refusal"})
"""Stop reasons with an outcome of their own."""

MAX_CALL = timedelta(days=1)
"""Of SEND_DEADLINE and CREATE_READ_TIMEOUT, as of an account's TIMEOUTS: not every system's sockets take more."""


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
    """Whether an entry point sends one tick on commit; False never touches a broker."""
    return bool(setting("KICK"))


def send_deadline() -> timedelta:
    """How long after `sent_at` a create call may still be writing its body."""
    return _within_a_day("SEND_DEADLINE")


def create_read_timeout() -> timedelta:
    """How long a create call waits for its answer, from when the last byte of its body was sent."""
    return _within_a_day("CREATE_READ_TIMEOUT")


def submit_quiet_period() -> timedelta:
    """How long nothing must appear at Anthropic before a lost submission counts as not received."""
    return duration("SUBMIT_QUIET_PERIOD")


def on_not_created() -> str:
    return one_of(setting("ON_NOT_CREATED"), ("retry", "hold"), 'CLAUDE_BATCHES["ON_NOT_CREATED"]')


def installation() -> str:
    """The name of this installation; empty: a copy of the database is not told from its original."""
    name = setting("INSTALLATION")
    if not isinstance(name, str) or len(name) > 100:
        raise ConfigurationError('CLAUDE_BATCHES["INSTALLATION"] must be a text of at most 100 characters.')
    return name


def announce_attempts() -> int:
    return count("ANNOUNCE_ATTEMPTS")


def ingest_attempts() -> int:
    return count("INGEST_ATTEMPTS")


def retention() -> Retention:
    """How long request bodies, result bodies and the copies at Anthropic are kept."""
    given = setting("RETENTION")
    where = 'CLAUDE_BATCHES["RETENTION"]'
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"{where} must be a dictionary, not {type(given).__name__}.")
    refuse_unknown(given, RETENTION_DEFAULTS, where)
    kept = {**RETENTION_DEFAULTS, **given}
    return Retention(**{name.lower(): _kept_for(value, f'{where}["{name}"]') for name, value in kept.items()})


def prices() -> PriceTable:
    """The prices that come with this package, and yours instead of or beside them."""
    given = setting("PRICES")
    if not isinstance(given, Mapping):
        raise ConfigurationError(f'CLAUDE_BATCHES["PRICES"] must be a dictionary, not {type(given).__name__}.')
    try:
        return bundled().replaced(given) if given else bundled()
    except ValueError as error:
        problem = str(error)
    raise ConfigurationError(f'CLAUDE_BATCHES["PRICES"]: {problem}.')


def whole_stop_reasons() -> frozenset[str]:
    """The stop reasons of answers that are whole: those of the API, and yours. An empty text: there was none."""
    given = setting("WHOLE_STOP_REASONS")
    where = 'CLAUDE_BATCHES["WHOLE_STOP_REASONS"]'
    if not isinstance(given, (list, tuple, set, frozenset)) or not all(isinstance(reason, str) for reason in given):
        raise ConfigurationError(f"{where} must be a list of texts.")
    if never := sorted(NEVER_WHOLE.intersection(given)):
        raise ConfigurationError(f'{where} cannot have "{never[0]}": such an answer is always truncated or refused.')
    return WHOLE_STOP_REASONS.union(given)


def max_in_flight_requests() -> int | None:
    """How many requests of an account may be in Anthropic's queue before runs of jobs wait; None: any number.

    Unless set, what the lowest paid tier may have there (docs/reference/wire.md §4).
    """
    return None if setting("MAX_IN_FLIGHT_REQUESTS") is None else count("MAX_IN_FLIGHT_REQUESTS")


def confirm_above_usd() -> Decimal | None:
    """Above which estimate, in USD, a person is asked to type the number of requests; None: never."""
    return limit("CONFIRM_ABOVE_USD")


def confirm_above_requests() -> Decimal | None:
    """Above which number of requests a person is asked to type it; None: never."""
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
