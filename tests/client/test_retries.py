from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_claude_batches import exceptions
from django_claude_batches.client import retries
from django_claude_batches.client.retries import Failure, pause_before_retry
from django_claude_batches.exceptions import APIConnectionError, APIStatusError

numbers = st.integers().map(str) | st.floats().map(str)
dates = st.builds(
    "{}, {} {} {} {}:{}:{} {}".format,
    st.sampled_from(["Mon", ""]),
    numbers,
    st.sampled_from(["Jan", "x"]),
    *[numbers] * 5,
)
header_values = numbers | dates | st.text(st.characters(max_codepoint=255))


def failed(
    status: int, kind: type[APIStatusError] = APIStatusError, *, advice: bool | None = None, **options: Any
) -> Failure:
    return Failure(kind("words", status_code=status, **options), advice)


@pytest.mark.parametrize("status", [408, 409, 429, 500, 501, 502, 503, 504, 529, 599])
def test_passing_statuses_are_retried(status: int) -> None:
    assert pause_before_retry(failed(status), tries=0) is not None


@pytest.mark.parametrize("status", [200, 301, 400, 401, 402, 403, 404, 405, 412, 413, 422, 425, 431, 499])
def test_all_others_are_not(status: int) -> None:
    assert pause_before_retry(failed(status), tries=0) is None


@pytest.mark.parametrize("status", [400, 404, 429, 500])
def test_the_servers_advice_outranks_the_status(status: int) -> None:
    assert pause_before_retry(failed(status, advice=True), tries=0) is not None
    assert pause_before_retry(failed(status, advice=False), tries=0) is None


def test_spend_limits_are_never_retried() -> None:
    assert pause_before_retry(failed(429, exceptions.SpendLimitReached, advice=True), tries=0) is None


def test_lost_connections_are_retried() -> None:
    assert pause_before_retry(Failure(APIConnectionError("cut", sent=True)), tries=0) is not None


def test_backoff_doubles_up_to_eight_seconds_and_is_spread() -> None:
    for tries, longest in enumerate([0.5, 1, 2, 4, 8, 8, 8]):
        pauses = [pause_before_retry(failed(500), tries=tries) or 0 for _ in range(50)]
        assert all(longest * 0.75 <= pause <= longest for pause in pauses)
        assert len(set(pauses)) > 1


@pytest.mark.parametrize(("asked", "pause"), [(0.001, 0.001), (7, 7), (60, 60), (60.1, None), (86_400, None)])
def test_the_servers_wish_is_followed_up_to_a_minute(asked: float, pause: float | None) -> None:
    assert pause_before_retry(failed(429, retry_after=asked), tries=0) == pause


def test_a_wish_of_nothing_is_no_wish() -> None:
    assert pause_before_retry(failed(429, retry_after=0), tries=0) != 0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "7", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": "7", "retry-after-ms": "soon"}, 7),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "Sun, 22 Nov 2026 12:00:30 GMT", "date": "Sun, 22 Nov 2026 12:00:00 GMT"}, 30),
        ({"retry-after": "Sun, 22 Nov 2026 12:00:00 GMT", "date": "Sun, 22 Nov 2026 12:00:30 GMT"}, 0),
        ({"retry-after": "Sun, 22 Nov 2026 12:00:30 -0000", "date": "Sun, 22 Nov 2026 12:00:00 GMT"}, 30),
    ],
)
def test_retry_after_is_milliseconds_seconds_or_a_date(headers: dict[str, str], seconds: float | None) -> None:
    assert retries.retry_after(headers) == seconds


def test_a_date_without_the_servers_clock_is_measured_by_ours() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True)
    assert 35 < (retries.retry_after({"retry-after": soon}) or 0) <= 40


@pytest.mark.parametrize(
    ("value", "advice"), [("true", True), ("false", False), ("TRUE", True), ("", None), ("1", None)]
)
def test_advice_is_true_or_false_or_none(value: str, advice: bool | None) -> None:
    assert retries.should_retry({"x-should-retry": value}) is advice


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (Failure(APIConnectionError("cut", sent=True)), True),
        (Failure(APIConnectionError("refused", sent=False)), False),
        (failed(500, exceptions.InternalServerError), True),
        (failed(408), True),
        (failed(429, exceptions.RateLimitError), False),
        (failed(404, exceptions.NotFoundError), False),
    ],
)
def test_what_may_have_worked(failure: Failure, expected: bool) -> None:
    assert retries.may_have_worked(failure) is expected


@given(st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms", "date", "x-should-retry"]), header_values))
def test_no_header_breaks_its_parser(headers: dict[str, str]) -> None:
    asked = retries.retry_after(headers)
    assert asked is None or (asked >= 0 and math.isfinite(asked))
    assert retries.should_retry(headers) in {True, False, None}
    date = retries.http_date(headers.get("date"))
    assert date is None or 1001 <= date.year <= 9998
