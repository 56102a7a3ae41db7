"""The table of what is tried again, and how."""

from __future__ import annotations

import pytest

from django_claude_batches.services.delivery.evaluation import Change, change_for

ROOM = {"can_have_more": True, "was_corrected": False}
NO_ROOM = {"can_have_more": False, "was_corrected": True}


@pytest.mark.parametrize(
    ("outcome", "error_type", "first", "then"),
    [
        ("expired", "", Change.NOTHING, Change.NOTHING),
        ("missing", "", Change.NOTHING, Change.NOTHING),
        ("errored", "overloaded_error", Change.NOTHING, Change.NOTHING),
        ("errored", "api_error", Change.NOTHING, Change.NOTHING),
        ("errored", "timeout_error", Change.NOTHING, Change.NOTHING),
        ("errored", "rate_limit_error", Change.NOTHING, Change.NOTHING),
        ("errored", "invalid_request_error", None, None),
        ("errored", "authentication_error", None, None),
        ("errored", "one_that_will_come", None, None),
        ("errored", "", None, None),
        ("truncated", "", Change.MORE_TOKENS, None),
        ("invalid_output", "", Change.CORRECTION, None),
        ("refused", "", None, None),
        ("unfinished", "", None, None),
        ("canceled", "", None, None),
        ("succeeded", "", None, None),
        ("one_that_will_come", "", None, None),
    ],
)
def test_how_it_is_asked_again(outcome: str, error_type: str, first: Change | None, then: Change | None) -> None:
    assert change_for(outcome, error_type, **ROOM) == first
    assert change_for(outcome, error_type, **NO_ROOM) == then
