"""The table of what is tried again, and how."""

from __future__ import annotations

import pytest

from django_claude_batches.services.delivery.retry_rules import RetryChange, automatic_change

ROOM = {"can_have_more": True, "was_corrected": False}
NO_ROOM = {"can_have_more": False, "was_corrected": True}


@pytest.mark.parametrize(
    ("outcome", "error_type", "first", "then"),
    [
        ("expired", "", RetryChange.NOTHING, RetryChange.NOTHING),
        ("missing", "", RetryChange.NOTHING, RetryChange.NOTHING),
        ("errored", "overloaded_error", RetryChange.NOTHING, RetryChange.NOTHING),
        ("errored", "api_error", RetryChange.NOTHING, RetryChange.NOTHING),
        ("errored", "timeout_error", RetryChange.NOTHING, RetryChange.NOTHING),
        ("errored", "rate_limit_error", RetryChange.NOTHING, RetryChange.NOTHING),
        ("errored", "invalid_request_error", None, None),
        ("errored", "authentication_error", None, None),
        ("errored", "one_that_will_come", None, None),
        ("errored", "", None, None),
        ("truncated", "", RetryChange.MORE_TOKENS, None),
        ("invalid_output", "", RetryChange.CORRECTION, None),
        ("refused", "", None, None),
        ("unfinished", "", None, None),
        ("canceled", "", None, None),
        ("succeeded", "", None, None),
        ("one_that_will_come", "", None, None),
    ],
)
def test_how_it_is_asked_again(
    outcome: str, error_type: str, first: RetryChange | None, then: RetryChange | None
) -> None:
    assert automatic_change(outcome, error_type, **ROOM) == first
    assert automatic_change(outcome, error_type, **NO_ROOM) == then
