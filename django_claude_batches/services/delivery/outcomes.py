"""What became of a request, in one word, and what is done about it. Pure."""

from __future__ import annotations

from enum import StrEnum

PASSING_ERRORS = frozenset({"overloaded_error", "api_error", "timeout_error", "rate_limit_error"})
"""Errors of a line that are not about its request: 529, 5xx, 504 and 429 (docs/reference/wire.md §5.1).
Others, and those that will come, are not tried again by themselves."""


class Outcome(StrEnum):
    """What a person or a job calls it. Result types of the API that are not here come as they are."""

    SUCCEEDED = "succeeded"
    INVALID_OUTPUT = "invalid_output"
    TRUNCATED = "truncated"
    REFUSED = "refused"
    UNFINISHED = "unfinished"
    ERRORED = "errored"
    CANCELED = "canceled"
    EXPIRED = "expired"
    MISSING = "missing"


class Change(StrEnum):
    """How a request is asked again."""

    NOTHING = "as_it_is"
    MORE_TOKENS = "more_tokens"
    CORRECTION = "correction"


def change_for(outcome: str, error_type: str, *, can_have_more: bool, was_corrected: bool) -> Change | None:
    """Say how to ask again, as far as the outcome goes; None: not by itself.

    `can_have_more` says whether its `max_tokens` may be larger, `was_corrected` whether it was sent the validator's
    words before.
    """
    match outcome:
        case Outcome.EXPIRED | Outcome.MISSING:
            return Change.NOTHING
        case Outcome.ERRORED:
            return Change.NOTHING if error_type in PASSING_ERRORS else None
        case Outcome.TRUNCATED:
            return Change.MORE_TOKENS if can_have_more else None
        case Outcome.INVALID_OUTPUT:
            return None if was_corrected else Change.CORRECTION
        case _:
            return None


def wished_change(outcome: str) -> Change:
    """Say how to ask again what a person wants asked again."""
    return change_for(outcome, "", can_have_more=True, was_corrected=False) or Change.NOTHING
