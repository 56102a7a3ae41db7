"""Answers are checked before the transaction of their delivery, and each row is still delivered once."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.models import BatchResult, DeliveryChunk, FailedDelivery
from django_claude_batches.services.delivery import slice as delivery_slice
from django_claude_batches.services.delivery.deliver import deliver
from django_claude_batches.services.delivery.slice import MAX_EVALUATION_SECONDS
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.library.models import Review
from tests.harness.shop import deliver_all, effects, fetched, job, over, reviews

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def checking(meanwhile: Callable[[], object], **members: Any) -> Any:
    """Define a job that has something happen while its first answer is checked."""
    happened: list[int] = []

    def read_output(self: Any, result: Any) -> None:
        if not happened:
            happened.append(1)
            meanwhile()

    return job(read_output=read_output, **members)


def lose_the_lease() -> None:
    DeliveryChunk.objects.update(lease_token="another", lease_until=timezone.now() + timedelta(minutes=5))


def another_delivers_all() -> None:
    DeliveryChunk.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    deliver(DeliveryChunk.objects.get().pk)


@pytest.mark.django_db(transaction=True)
def test_no_transaction_is_open_meanwhile(claude: ClaudeEmulator) -> None:
    seen: list[bool] = []
    reviews(3)
    fetched(job(read_output=lambda self, result: seen.append(connection.in_atomic_block)).start(), claude)
    deliver_all()
    assert (seen, effects()) == ([False] * 3, [1] * 3)


def test_who_loses_the_lease_meanwhile_hands_out_nothing(claude: ClaudeEmulator) -> None:
    reviews(3)
    fetched(checking(lose_the_lease).start(), claude)
    deliver_all()
    assert effects() == [0] * 3
    assert DeliveryChunk.objects.get().lease_token == "another"
    DeliveryChunk.objects.update(lease_token="", lease_until=None)
    deliver_all()
    assert effects() == [1] * 3


def test_what_another_hands_out_meanwhile_is_not_handed_out_twice(claude: ClaudeEmulator) -> None:
    reviews(3)
    fetched(checking(another_delivers_all).start(), claude)
    deliver_all()
    assert effects() == [1] * 3
    assert DeliveryChunk.objects.get().delivered_count == 3


def test_a_position_that_moved_meanwhile_is_where_it_goes_on(claude: ClaudeEmulator) -> None:
    reviews(3)
    fetched(checking(lambda: DeliveryChunk.objects.update(position=F("position") + 2)).start(), claude)
    deliver_all()
    assert effects() == [0, 0, 1]


def test_a_run_that_is_paused_meanwhile_is_paused(claude: ClaudeEmulator) -> None:
    reviews(3)
    run = checking(lambda: services.pause_run(run)).start()
    fetched(run, claude)
    deliver_all()
    assert effects() == [0] * 3
    services.resume_run(run)
    deliver_all()
    assert effects() == [1] * 3


def test_a_parked_row_that_another_hands_out_meanwhile_is_not_handed_out_twice(claude: ClaudeEmulator) -> None:
    def broken(self: Any, review: Review, result: Any) -> None:
        raise LookupError

    reviews(2)
    run = over(job(on_result=broken).start(), claude)
    first, _second = FailedDelivery.objects.order_by("pk").values_list("request", flat=True)
    checking(lambda: FailedDelivery.objects.filter(request=first).delete())
    services.redeliver_failed(run)
    deliver_all()
    assert effects() == [0, 1]


@pytest.mark.slow
def test_rows_whose_checks_take_long_are_in_several_transactions(claude: ClaudeEmulator) -> None:
    reviews(3)
    positions: list[int] = []

    def read_output(self: Any, result: Any) -> None:
        positions.append(DeliveryChunk.objects.get().position)
        give_up_at = time.monotonic() + 1.01 * MAX_EVALUATION_SECONDS
        while len(positions) == 1 and time.monotonic() < give_up_at:
            pass

    fetched(job(read_output=read_output).start(), claude)
    deliver_all()
    assert (positions, effects()) == ([0, 1, 1], [1] * 3)


def test_parked_rows_whose_checks_take_long_are_handed_out_too(
    claude: ClaudeEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Any, review: Review, result: Any) -> None:
        raise LookupError

    def read_output(self: Any, result: Any) -> None:
        give_up_at = time.monotonic() + 0.06
        while time.monotonic() < give_up_at:
            pass

    monkeypatch.setattr(delivery_slice, "MAX_EVALUATION_SECONDS", 0.05)
    monkeypatch.setattr("django_claude_batches.services.delivery.deliver.MAX_TASK_SECONDS", 3.0)
    reviews(3)
    run = over(job(on_result=broken).start(), claude)
    job(read_output=read_output)
    services.redeliver_failed(run)
    chunk = DeliveryChunk.objects.get(done_at__isnull=True)
    deliver(chunk.pk)
    assert effects() == [1] * 3


def test_the_answer_that_costs_too_much_is_invalid_and_the_others_are_delivered(claude: ClaudeEmulator) -> None:
    answers = iter(['{"a": 1}', "{" + ",".join(f'"{number}": 0' for number in range(2001)) + "}", '{"a": 2}'])
    schema = {"unevaluatedProperties": {"type": "integer"}}
    reviews(3)
    with ClaudeEmulator(seed=1, replies=lambda params, custom_id: next(answers)) as own:
        fetched(job(output_schema=schema, max_attempts=1).start(), own)
        deliver_all()
    assert sorted(effects()) == [0, 1, 1]
    (result,) = BatchResult.objects.filter(output_error__isnull=False)
    assert result.outcome == "invalid_output"
    assert result.output_error.startswith("cannot be checked: it has 2,001 members")
