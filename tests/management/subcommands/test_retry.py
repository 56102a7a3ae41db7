from __future__ import annotations

from collections.abc import Iterator

import pytest

from django_claude_batches import services
from django_claude_batches.models import BatchRequest, MessageBatch, State
from django_claude_batches.testing import ClaudeEmulator, Failure, Reply
from tests.harness.factories import draft, running
from tests.harness.selections import slow_but
from tests.management.conftest import Manage

pytestmark = pytest.mark.django_db

ANSWERS = [Failure("overloaded_error", "Overloaded"), Reply("cut", stop_reason="max_tokens"), Reply("whole")]


@pytest.fixture
def finished(db: None) -> Iterator[MessageBatch]:
    """A complete batch of three: one failed, one was truncated, one succeeded."""
    with ClaudeEmulator(seed=1, replies=lambda params, custom_id: ANSWERS[int(custom_id[-1])]) as claude:
        batch = running(kind="tags", label="Nightly")
        claude.finish()
        yield services.advance(batch)


def ids(batch: MessageBatch) -> list[str]:
    return [request.custom_id for request in batch.requests.order_by("position")]


def child_of(batch: MessageBatch) -> MessageBatch:
    return MessageBatch.objects.get(parent=batch)


def test_what_failed_becomes_a_draft(manage: Manage, finished: MessageBatch) -> None:
    ran = manage("retry", finished.pk, terminal=True)
    child = child_of(finished)
    assert (ran.code, ids(child), child.state, child.kind) == (0, ["r-0"], State.DRAFT, "tags")
    first, second = ran.out.splitlines()
    assert first == f"1 request of {finished}'s 3 in a new batch:"
    assert second.startswith(f"{child}: Draft, 1 request. Not sent. Costs nothing until submitted.")
    assert f"Drafting what is to be retried of {finished}" in ran.err


def test_the_outcomes_are_chosen_and_the_truncated_get_more_room(manage: Manage, finished: MessageBatch) -> None:
    ran = manage(
        *(
            "retry",
            finished.anthropic_id,
            "--outcome",
            "errored",
            "--outcome",
            "truncated",
            "--max-tokens",
            500,
            "--json",
        )
    )
    child = child_of(finished)
    [shown] = ran.document["batches"]
    assert (ran.code, shown["id"], shown["parent"], shown["request_count"]) == (0, child.pk, finished.pk, 2)
    assert ids(child) == ["r-0", "r-1"]
    assert [request.params["max_tokens"] for request in child.requests.order_by("custom_id")] == [64, 500]


def test_it_can_be_queued_at_once(manage: Manage, finished: MessageBatch) -> None:
    ran = manage("retry", finished.pk, "--submit")
    assert (ran.code, child_of(finished).state) == (0, State.QUEUED)
    assert "Waiting to be sent, 1 request." in ran.out


def test_nothing_to_retry(manage: Manage, finished: MessageBatch) -> None:
    ran = manage("retry", finished.pk, "--outcome", "expired", "--submit")
    assert (ran.code, ran.out, MessageBatch.objects.count()) == (1, "", 1)
    assert ran.err == f"batch {finished} has no request here that is expired"


def test_one_that_is_not_finished(manage: Manage, batch: MessageBatch) -> None:
    ran = manage("retry", batch.pk)
    assert (ran.code, MessageBatch.objects.count()) == (1, 1)
    assert ran.err.startswith(f"Cannot retry batch {batch}, which is Draft")


def test_one_whose_requests_were_purged(manage: Manage, finished: MessageBatch) -> None:
    MessageBatch.objects.filter(pk=finished.pk).update(request_bodies_purged_at=finished.ended_at)
    ran = manage("retry", finished.pk)
    assert (ran.code, "its request bodies are gone" in ran.err) == (1, True)


def test_one_that_there_is_not(manage: Manage) -> None:
    assert (manage("retry", 9).code, manage("retry", 9).err) == (
        1,
        "There is no batch #9. See `claude_batches status`.",
    )


@pytest.mark.parametrize(
    "wrong", slow_but(1, [["--outcome", "succeeded"], ["--max-tokens", "0"], ["--max-tokens", "many"]])
)
def test_wrong_usage(manage: Manage, wrong: list[str]) -> None:
    batch = draft()
    ran = manage("retry", batch.pk, *wrong)
    assert (ran.out, BatchRequest.objects.count()) == ("", 3)
    assert ran.err.startswith(f"Error: argument {wrong[0]}:")
