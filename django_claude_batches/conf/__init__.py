"""The settings: one dictionary, `CLAUDE_BATCHES`, read when it is used.

Each function reads and validates one setting, and raises ConfigurationError if it is wrong.
"""

from __future__ import annotations

from django_claude_batches.conf.account_settings import (
    ACCOUNT_DEFAULTS,
    DEFAULT_ACCOUNT,
    DEFAULT_BASE_URL,
    Account,
    account,
    accounts,
    every_alias,
)
from django_claude_batches.conf.general_settings import (
    RETENTION_DEFAULTS,
    Retention,
    announce_attempts,
    confirm_above_requests,
    confirm_above_usd,
    create_read_timeout,
    ingest_attempts,
    installation,
    kick,
    max_in_flight_requests,
    on_not_created,
    prices,
    retention,
    send_deadline,
    submit_quiet_period,
    whole_stop_reasons,
)
from django_claude_batches.conf.validation import DEFAULTS, ConfigurationError

__all__ = [
    "ACCOUNT_DEFAULTS",
    "DEFAULTS",
    "DEFAULT_ACCOUNT",
    "DEFAULT_BASE_URL",
    "RETENTION_DEFAULTS",
    "Account",
    "ConfigurationError",
    "Retention",
    "account",
    "accounts",
    "announce_attempts",
    "confirm_above_requests",
    "confirm_above_usd",
    "create_read_timeout",
    "every_alias",
    "ingest_attempts",
    "installation",
    "kick",
    "max_in_flight_requests",
    "on_not_created",
    "prices",
    "retention",
    "send_deadline",
    "submit_quiet_period",
    "whole_stop_reasons",
]
