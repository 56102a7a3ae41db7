"""Whatever comes from outside: something that SQLite, PostgreSQL and MariaDB take, and give back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from django.db.models import F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_claude_batches import sanitize
from django_claude_batches.models import AccountState, MessageBatch
from tests.harness.factories import draft

anything = st.text(st.characters(categories=None, exclude_categories=()))
zones = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))
times = st.datetimes(timezones=zones | st.none())


@given(anything, st.integers(0, 20) | st.none())
def test_a_text_has_no_nul_and_no_half_characters(value: str, longest: int | None) -> None:
    made = sanitize.text(value, longest)
    assert "\0" not in made
    assert made.encode().decode() == made
    assert longest is None or len(made) <= longest
    if "\0" not in value and not any("\ud800" <= letter <= "\udfff" for letter in value):
        assert made == value[:longest]


@given(times.map(datetime.isoformat) | times | anything | st.none() | st.integers())
def test_a_moment_is_in_the_range_of_all_databases_or_none(value: Any) -> None:
    made = sanitize.moment(value)
    assert made is None or (made.tzinfo is UTC and 1001 <= made.year <= 9998)


@pytest.mark.parametrize(
    ("value", "made"),
    [
        ("2026-05-01T20:29:05.358585+00:00", datetime(2026, 5, 1, 20, 29, 5, 358585, UTC)),
        ("2026-05-01T20:29:05Z", datetime(2026, 5, 1, 20, 29, 5, 0, UTC)),
        ("2026-05-01T20:29:05.123456789+02:00", datetime(2026, 5, 1, 18, 29, 5, 123456, UTC)),
        ("2026-05-01T20:29:05", None),
        ("2026-05-01", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("9999-12-31T23:59:59-14:00", None),
        ("0999-12-31T23:59:59Z", None),
        (datetime(2026, 5, 1), None),
    ],
)
def test_moments(value: Any, made: datetime | None) -> None:
    assert sanitize.moment(value) == made


@pytest.mark.database
@pytest.mark.django_db
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(anything, anything, times)
def test_columns_take_anything_and_give_it_back(short: str, long: str, at: datetime) -> None:
    batch, state = draft(1), AccountState.objects.get_or_create(alias="a")[0]
    values = {"processing_status": short * 40, "results_url": long * 500, "created_at": at, "last_error": long}
    MessageBatch.objects.filter(pk=batch.pk).update(**values)
    batch.refresh_from_db()
    assert batch.processing_status == sanitize.text(short * 40, 40)
    assert batch.results_url == sanitize.text(long * 500, 500)
    assert batch.last_error == sanitize.text(long, sanitize.MAX_TEXT)
    assert batch.created_at == sanitize.moment(at)
    assert batch.log_event("x", long).text == long
    assert batch.events.get(what="x").text == sanitize.text(long)
    AccountState.objects.filter(pk=state.pk).update(pause_reason=long * 20_000)
    assert len(AccountState.objects.get(pk=state.pk).pause_reason) <= sanitize.MAX_TEXT
    batch.attempts.create(number=1, tag=f"t{batch.pk}", recorded_at=datetime.now(UTC), candidates=[{short: [long]}])
    assert batch.attempts.get().candidates == [{sanitize.text(short): [sanitize.text(long)]}]


@pytest.mark.django_db
@pytest.mark.database
def test_an_expression_is_let_through(db: None) -> None:
    batch = draft(1, label="a label")
    MessageBatch.objects.filter(pk=batch.pk).update(last_error=F("label"), created_at=F("drafted_at"))
    batch.refresh_from_db()
    assert (batch.last_error, batch.created_at) == ("a label", batch.drafted_at)
