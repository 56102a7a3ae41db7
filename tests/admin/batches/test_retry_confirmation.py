"""*Retry failed rows*: the choice of outcomes, max_tokens, repeated posts, and that nothing is sent."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from django_claude_batches.models import BatchResult, MessageBatch, State
from tests.admin.admin_pages import BATCHES, HOSTILE, act, in_state, page, said, url
from tests.harness.factories import draft
from tests.harness.selections import slow_but

pytestmark = [pytest.mark.django_db, pytest.mark.database]

OUTCOMES = [
    ("succeeded", "end_turn"),
    ("succeeded", "max_tokens"),
    ("succeeded", "max_tokens"),
    ("succeeded", "refusal"),
    ("errored", ""),
    ("canceled", ""),
    ("expired", ""),
]
COUNTS = {"succeeded_count": 4, "errored_count": 1, "canceled_count": 1, "expired_count": 1, "missing_count": 1}


def finished(state: State = State.INGESTED, **changes: Any) -> MessageBatch:
    """Create a finished batch of eight requests: two cut off, one of each other outcome, the last without a result."""
    batch = draft(8, label=f"Tags {HOSTILE}")
    for request, (result_type, stop_reason) in zip(batch.requests.all(), OUTCOMES, strict=False):
        known = {"batch": batch, "request": request, "custom_id": request.custom_id}
        BatchResult.objects.create(**known, result_type=result_type, stop_reason=stop_reason)
    return in_state(batch, state, **{"processing_count": 0, **COUNTS, **changes})


def retry(client: Client, *batches: MessageBatch, **fields: Any) -> Any:
    before = MessageBatch.objects.filter(parent__in=batches).count()
    return act(client, "retry", *batches, **{"retries_before": before, **fields})


def drafted(batch: MessageBatch) -> set[str]:
    return set(MessageBatch.objects.get(parent=batch).requests.values_list("custom_id", flat=True))


def test_the_page_counts_what_can_be_chosen_over_all_batches(root: Client) -> None:
    shown = act(root, "retry", finished(), finished(State.LOST), confirmed=False).content.decode()
    for label in (
        *("errored (2)", "expired (2)", "canceled (2)"),
        *("cut off (4)", "refused (2)", "missing (2)"),
    ):
        assert label in shown
    assert "Makes a new draft of each batch; nothing is sent yet." in shown
    assert HOSTILE not in shown
    assert shown.count(" checked") == 3


def test_all_requests_of_an_abandoned_batch_are_missing(root: Client) -> None:
    abandoned = in_state(draft(3), State.ABANDONED)
    shown = act(root, "retry", abandoned, confirmed=False).content.decode()
    assert "missing (3)" in shown
    assert "errored (" not in shown
    retry(root, abandoned, outcomes=["missing"])
    assert drafted(abandoned) == {"r-0", "r-1", "r-2"}


def test_where_all_succeeded_there_is_nothing_to_choose(root: Client) -> None:
    fine = in_state(draft(1), State.INGESTED, succeeded_count=1)
    assert "nothing to choose" in act(root, "retry", fine, confirmed=False).content.decode()


def test_a_draft_is_made_linked_to_and_not_sent(root: Client) -> None:
    batch = finished()
    response = retry(root, batch, outcomes=["errored", "missing"])
    child = MessageBatch.objects.get(parent=batch)
    [message] = said(response)
    assert message.startswith("1 new draft; nothing is sent yet: <a href=")
    assert url(BATCHES, "change", child.pk) in message
    assert HOSTILE not in message
    assert HOSTILE not in page(root, url(BATCHES))
    assert (child.state, child.created_by_name) == (State.DRAFT, "ada")
    assert drafted(batch) == {"r-4", "r-7"}
    assert batch.events.get(what="retried").by_name == "ada"
    assert LogEntry.objects.get().change_message == "Retry failed rows"


def test_unfinished_answers_are_counted_and_drafted_again(root: Client, settings: Any) -> None:
    batch = finished()
    batch.results.filter(custom_id="r-0").update(stop_reason="pause_turn")
    batch.results.filter(custom_id="r-3").update(stop_reason="")
    assert "not finished (2)" in act(root, "retry", batch, confirmed=False).content.decode()
    retry(root, batch, outcomes=["unfinished"])
    assert drafted(batch) == {"r-0", "r-3"}
    settings.CLAUDE_BATCHES = {**settings.CLAUDE_BATCHES, "WHOLE_STOP_REASONS": ["pause_turn"]}
    assert "not finished (1)" in act(root, "retry", batch, confirmed=False).content.decode()


def test_each_of_several_batches_gets_its_own_draft_and_one_without_such_rows_is_skipped(root: Client) -> None:
    one, two = finished(), finished()
    fine = in_state(draft(1), State.INGESTED)
    done, skipped = said(retry(root, one, two, fine, outcomes=["canceled"]))
    assert done.startswith("2 new drafts; nothing is sent yet: ")
    assert done.count("<a href=") == 2
    assert skipped.startswith(f"1 skipped: {fine}: batch {fine} has no request here that is canceled. Only finished")
    assert drafted(one) == drafted(two) == {"r-5"}


def test_those_that_were_cut_off_get_more_tokens_and_the_others_keep_theirs(root: Client) -> None:
    batch = finished()
    retry(root, batch, outcomes=["errored", "truncated"], max_tokens="4096")
    child = MessageBatch.objects.get(parent=batch)
    assert {request.custom_id: request.params["max_tokens"] for request in child.requests.all()} == {
        "r-1": 4096,
        "r-2": 4096,
        "r-4": 64,
    }


@pytest.mark.parametrize(
    ("fields", "words"),
    slow_but(
        2,
        [
            ({}, "Nothing was done: choose which rows to retry."),
            ({"outcomes": ["succeeded"]}, "Select a valid choice."),
            ({"outcomes": ["truncated"]}, "Nothing was done: enter max_tokens for rows that were cut off."),
            ({"outcomes": ["truncated"], "max_tokens": "0"}, "greater than or equal to 1"),
            ({"outcomes": ["truncated"], "max_tokens": "-5"}, "greater than or equal to 1"),
            ({"outcomes": ["truncated"], "max_tokens": "many"}, "Enter a whole number."),
            ({"outcomes": ["errored"], "retries_before": ""}, "This field is required."),
            ({"outcomes": ["errored"], "retries_before": "x"}, "Enter a whole number."),
        ],
    ),
)
def test_what_is_not_answered_is_asked_again_and_nothing_is_done(
    root: Client, fields: dict[str, Any], words: str
) -> None:
    batch = finished()
    response = retry(root, batch, **fields)
    assert response.status_code == 200
    assert words in response.content.decode()
    assert not batch.retries.exists()
    assert not LogEntry.objects.exists()


def test_max_tokens_must_be_more_than_before(root: Client) -> None:
    batch = finished()
    [skipped] = said(retry(root, batch, outcomes=["truncated"], max_tokens="64"))
    assert "it was cut off at 64 tokens: max_tokens must be more than that" in skipped
    assert not batch.retries.exists()


def test_a_second_post_makes_no_second_draft_until_it_is_confirmed(root: Client) -> None:
    batch = finished()
    retry(root, batch, outcomes=["errored"])
    child = MessageBatch.objects.get(parent=batch)
    shown = retry(root, batch, outcomes=["errored"], retries_before=0).content.decode()
    assert f"these rows have been retried since this page was opened, by #{child.pk} " in shown
    assert 'name="retries_before" value="1"' in shown
    assert batch.retries.count() == 1
    retry(root, batch, outcomes=["errored"], retries_before=1)
    assert batch.retries.count() == 2


def test_more_than_a_batch_holds_is_not_drafted_at_once(root: Client) -> None:
    batches = [finished(missing_count=60_000), finished(missing_count=60_000)]
    shown = retry(root, *batches, outcomes=["missing"]).content.decode()
    assert "these are 120,000 requests, and at most 100,000 are drafted at once" in shown
    assert not MessageBatch.objects.filter(parent__isnull=False).exists()


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"request_bodies_purged_at": "2026-11-01T00:00Z"}, "has no requests any more"),
        ({"body_bytes": 0}, "was made elsewhere, so its requests are not here"),
    ],
)
def test_what_cannot_be_retried_says_why(root: Client, columns: dict[str, Any], why: str) -> None:
    batch = finished(**columns)
    assert 'value="retry"' not in page(root, url(BATCHES, "change", batch.pk))
    assert said(retry(root, batch, outcomes=["errored"]))[0].startswith(f"1 skipped: {batch} {why}")
