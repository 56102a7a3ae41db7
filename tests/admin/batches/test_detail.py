"""The page of a batch: the next step and its time, problems by kind, related rows, and a few results."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.test import Client
from django.utils import timezone
from django.utils.html import escape

from django_claude_batches.admin.batches.forecast import MIN_SAMPLE, outlook, turn_round
from django_claude_batches.admin.batches.samples import MAX_CHARACTERS, MAX_READ, prompt, samples
from django_claude_batches.models import (
    AccountState,
    BatchResult,
    MessageBatch,
    ResultProblem,
    State,
    SubmitAttempt,
    UsageRollup,
)
from django_claude_batches.models.batch_state import REMOTE, RUNNING
from tests.admin.admin_pages import ANSWER, BATCHES, HOSTILE, PROMPT, REQUESTS, RESULTS, in_state, ingest, page, url
from tests.admin.conftest import Staff
from tests.harness.factories import draft
from tests.harness.selections import slow_but

pytestmark = pytest.mark.django_db
NOW = timezone.now()


def ended(minutes: float, **columns: Any) -> MessageBatch:
    created_at = NOW - timedelta(days=1)
    times = {"created_at": created_at, "ended_at": created_at + timedelta(minutes=minutes), **columns}
    return in_state(draft(1), State.INGESTED, **times)


def facts(batch: MessageBatch) -> dict[str, str]:
    return {str(fact.label): str(fact.text) for fact in outlook(batch)}


@pytest.mark.database
def test_the_turn_round_is_that_of_the_accounts_last_batches(django_assert_num_queries: Any) -> None:
    for minutes in range(1, 22):
        ended(minutes)
    ended(600, account="other")
    ended(600, cancel_initiated_at=NOW)
    with django_assert_num_queries(1):
        known = turn_round("default")
    assert known is not None
    assert (known.usual, known.most, known.count) == (timedelta(minutes=11), timedelta(minutes=20), 21)


def test_a_few_batches_say_nothing() -> None:
    for _number in range(MIN_SAMPLE - 1):
        ended(5)
    assert turn_round("default") is None
    ended(0)
    known = turn_round("default")
    assert known is not None
    assert known.usual == timedelta(minutes=5)


def test_a_running_batch_says_when_it_is_likely_to_end(root: Client, batch: MessageBatch) -> None:
    in_state(batch, State.IN_PROGRESS, created_at=timezone.now())
    assert "Usually done" not in facts(batch)
    for _number in range(5):
        ended(25)
    said = facts(batch)["Usually done"].replace("\xa0", " ")
    assert said.startswith("within 25 minutes, <time ")
    assert said.endswith(" (last 5 batches)")
    ended(125)
    said = facts(batch)["Usually done"].replace("\xa0", " ")
    assert said.startswith("within 25 minutes, <time ")
    assert "95 of 100 within 1 hour, 40 minutes, <time " in said
    assert said.endswith(" (last 6 batches)")
    assert "Usually done" in page(root, url(BATCHES, "change", batch.pk))
    in_state(batch, State.INGESTED)
    assert "Usually done" not in facts(batch)


def test_one_that_takes_longer_is_promised_no_time_that_is_past(batch: MessageBatch) -> None:
    for _number in range(5):
        ended(25)
    in_state(batch, State.IN_PROGRESS, created_at=timezone.now() - timedelta(hours=2))
    assert "<time" not in facts(batch)["Usually done"]


@pytest.mark.parametrize(
    ("state", "columns", "what"),
    [
        (State.QUEUED, {}, "It is sent"),
        (State.UNCERTAIN, {}, "It is searched for at Anthropic"),
        (State.IN_PROGRESS, {}, "Anthropic is asked whether it has ended"),
        (State.IN_PROGRESS, {"cancel_requested_at": NOW}, "Anthropic is asked to cancel it"),
        (State.INCOMPLETE, {}, "Its results are fetched again"),
        (State.INGESTED, {"announced_at": None, "next_action_at": NOW}, "Your receivers are called"),
        (State.INGESTED, {"delete_requested_at": NOW, "next_action_at": NOW}, "It is deleted at Anthropic"),
    ],
)
def test_what_happens_next_is_said_with_its_time(
    batch: MessageBatch, state: State, columns: dict[str, Any], what: str
) -> None:
    in_state(batch, state, **columns)
    assert facts(batch)["Next"] == f"{what}, as soon as a worker is free."
    later = {"next_action_at": timezone.now() + timedelta(minutes=2, seconds=30)}
    in_state(batch, state, **{**columns, **later})
    assert facts(batch)["Next"].replace("\xa0", " ") == f"{what}, in 2 minutes."


@pytest.mark.parametrize("state", [State.DRAFT, State.HELD, State.REJECTED, State.ABANDONED, State.LOST])
def test_nothing_is_promised_where_nothing_happens(batch: MessageBatch, state: State) -> None:
    in_state(batch, state, next_action_at=None)
    assert "Next" not in facts(batch)


def test_the_clocks_run_to_24_hours_and_to_29_days(batch: MessageBatch) -> None:
    created_at = timezone.now() - timedelta(hours=6)
    in_state(batch, State.IN_PROGRESS, created_at=created_at, expires_at=created_at + timedelta(hours=24))
    (clock,) = [fact for fact in outlook(batch) if fact.label == "Expires"]
    assert "in\xa017\xa0hours" in clock.text.replace(" ", "\xa0")
    assert '<rect width="25"' in clock.bar
    in_state(batch, State.INGESTED, created_at=created_at)
    assert "4\xa0weeks" in facts(batch)["Kept at Anthropic until"]
    in_state(batch, State.INGESTED, created_at=timezone.now() - timedelta(days=30))
    assert "Was kept at Anthropic until" in facts(batch)
    in_state(batch, State.INGESTED, created_at=created_at, remote_deleted_at=timezone.now())
    assert not [label for label in facts(batch) if "kept" in label.lower()]


@pytest.mark.database
def test_errors_are_grouped_and_each_kind_is_a_link_to_its_rows(root: Client) -> None:
    batch = draft(5)
    kinds = ["a_error", "b_error", "b_error", HOSTILE]
    for request, kind in zip(batch.requests.order_by("position"), kinds, strict=False):
        of = {"request": request, "custom_id": request.custom_id}
        BatchResult.objects.create(batch=batch, result_type="errored", error_type=kind, **of)
    groups = UsageRollup.objects.sum_up(batch.pk).error_groups
    in_state(batch, State.INGESTED, errored_count=4, error_groups=groups)
    shown = page(root, url(BATCHES, "change", batch.pk))
    problems = shown[shown.index("What went wrong") : shown.index("dcb-facts")]
    assert re.findall("<strong>([0-9]+)</strong>", problems) == ["2", "1", "1"]
    assert HOSTILE not in shown
    assert f'<a href="{url(RESULTS)}?batch={batch.pk}&amp;error_type=b_error">b_error</a>' in shown
    response = root.get(url(RESULTS), {"batch": batch.pk, "error_type": "b_error"})
    assert [row.custom_id for row in response.context["cl"].result_list] == ["r-1", "r-2"]
    hostile = root.get(url(RESULTS), {"batch": batch.pk, "error_type": HOSTILE})
    assert [row.custom_id for row in hostile.context["cl"].result_list] == ["r-3"]
    unknown = root.get(url(RESULTS), {"batch": batch.pk, "error_type": "none"})
    assert list(unknown.context["cl"].result_list) == []
    assert root.get(url(RESULTS), {"batch": batch.pk, "error_type": "x\x00"}).url.endswith("?e=1")


def test_who_may_not_see_results_sees_the_kinds_and_no_link(staff: Staff, ingested: MessageBatch) -> None:
    shown = page(staff("view_messagebatch"), url(BATCHES, "change", ingested.pk))
    assert "<strong>1</strong> invalid_request_error</li>" in shown
    assert "error_type=" not in shown


@pytest.mark.parametrize(
    ("codenames", "reads"),
    [
        ((), False),
        (("view_batchresult",), False),
        (("view_batchrequest",), False),
        (("view_batchresult", "view_batchrequest"), True),
    ],
)
def test_prompts_stand_beside_answers_for_those_who_may_read_both(
    staff: Staff, ingested: MessageBatch, codenames: tuple[str, ...], reads: bool
) -> None:
    ResultProblem.objects.all().delete()  # its excerpt is a piece of the answer too
    shown = page(staff("view_messagebatch", *codenames), url(BATCHES, "change", ingested.pk))
    assert (PROMPT in shown) == reads
    assert (ANSWER in shown) == reads
    assert ("Some of the results" in shown) == reads


@pytest.mark.database
def test_long_texts_are_cut_and_very_long_ones_not_read(batch: MessageBatch) -> None:
    ingest(batch, text="x" * (MAX_CHARACTERS + 1))
    second, first, *_rest = samples(batch)
    assert first.answer == "x" * (MAX_CHARACTERS - 1) + "…"
    assert (first.prompt, second.prompt) == (PROMPT, "Hello 1")
    assert second.answer == f"no {HOSTILE}"
    answer = {"role": "assistant", "content": [{"type": "text", "text": "y" * MAX_READ}]}
    BatchResult.objects.filter(pk=first.result.pk).update(message=answer)
    first = samples(batch)[1]
    assert (first.answer, first.is_long) == ("", True)


@pytest.mark.parametrize(
    ("params", "shown"),
    [
        ('{"messages": [{"content": "one"}, {"content": "two"}]}', "two"),
        (
            '{"messages": [{"content": [{"type": "text", "text": "a"}, {"type": "image"}, {"text": "b"}]}]}',
            "a\n[image]\nb",
        ),
        ('{"messages": []}', '{"messages": []}'),
        ('{"messages": [{"content": 5}]}', '{"messages": [{"content": 5}]}'),
        ('{"messages": [{"content": "cut', '{"messages": [{"content": "cut'),
        ("[" * 100_000, "[" * 100_000),
        ("", ""),
    ],
)
def test_the_prompt_is_the_last_message_or_else_what_was_sent(params: str, shown: str) -> None:
    assert prompt(params) == shown


def test_tokens_and_cost_are_said_with_the_day_of_the_prices(root: Client, ingested: MessageBatch) -> None:
    in_state(ingested, State.INGESTED, cost_usd=Decimal("0.012345678"), prices_as_of=date(2026, 11, 1))
    shown = page(root, url(BATCHES, "change", ingested.pk))
    assert "1,234 in, 0 out" in shown
    cost = '<span title="0.012345678 USD by the prices of Nov. 1, 2026">$0.01</span>'
    assert cost in shown
    assert cost in page(root, url(BATCHES))
    in_state(ingested, State.INGESTED, cost_usd=None)
    assert "not known: a model without a price" in page(root, url(BATCHES, "change", ingested.pk))


def test_many_problem_lines_are_not_counted_to_the_end(staff: Staff, root: Client, batch: MessageBatch) -> None:
    in_state(batch, State.INGESTED)
    for number in range(21):
        ResultProblem.objects.create(batch=batch, number=number, offset=0, sha256=f"{number:064}", reason="cut")
    for client in (root, staff("view_messagebatch")):
        shown = page(client, url(BATCHES, "change", batch.pk))
        assert "More than 20 lines of the results could not be stored" in shown


def full(batch: MessageBatch, state: State) -> MessageBatch:
    """Put the batch in this state, with rows for each table of its page, a batch that it retries, and a retry."""
    ingest(batch)
    draft(1, parent=batch)
    for number in range(60):
        batch.log_event("noted", str(number))
    left = {"ingested_at": None} if state != State.INGESTED else {}
    left |= {"anthropic_id": None} if state not in REMOTE else {}
    return in_state(batch, state, parent=draft(1), errored_count=1, **left)


@pytest.mark.database
@pytest.mark.parametrize("state", slow_but(5, State))
@pytest.mark.parametrize("is_staff", slow_but(2, [False, True]))
def test_the_page_makes_at_most_ten_queries(
    root: Client,
    staff: Staff,
    ticking: AccountState,
    batch: MessageBatch,
    state: State,
    is_staff: bool,
    django_assert_max_num_queries: Any,
) -> None:
    """Also for the first page of a process, which has to read the content types."""
    client = staff("view_messagebatch", "view_batchresult", "view_batchrequest") if is_staff else root
    full(batch, state)
    ContentType.objects.clear_cache()
    with django_assert_max_num_queries(10):
        shown = page(client, url(BATCHES, "change", batch.pk))
    for related in (batch.parent, batch.retries.get()):
        assert escape(str(related)) in shown
    if state in REMOTE - RUNNING:
        assert ANSWER in shown


@pytest.mark.database
def test_the_page_shows_so_many_related_rows(root: Client, staff: Staff, batch: MessageBatch) -> None:
    full(batch, State.INGESTED)
    other = ingest(draft(1))
    now = timezone.now()
    for number in range(2, 23):
        calls = {"number": number, "tag": f"call{number:09d}", "recorded_at": now, "outcome": "refused"}
        SubmitAttempt.objects.create(batch=batch, http_status=400 + number, **calls)
    for number in range(100, 120):
        ResultProblem.objects.create(batch=batch, number=number, offset=2**33, sha256=f"{number:064}", reason="odd")
    other.log_event("noted", "of another batch")
    shown = page(root, url(BATCHES, "change", batch.pk))
    told = {text: f"<td>{text}</td>" in shown for text in ("of another batch", "8", "10", "59", "2", "411")}
    assert told == {"of another batch": False, "8": False, "10": True, "59": True, "2": False, "411": True}
    tags = re.findall("<code>call0+([0-9]+)</code>", shown)
    assert tags == [str(number) for number in range(22, 2, -1)]
    assert shown.index("<td>59</td>") < shown.index("<td>10</td>")
    assert "More than 20 lines of the results could not be stored" in shown
    assert ("118</th>" in shown, "119</th>" in shown, f"<td>{2**33}</td>" in shown) == (True, False, True)
    assert "<code>The answer is 42</code>" in shown
    blind = page(staff("view_messagebatch"), url(BATCHES, "change", batch.pk))
    assert "More than 20 lines of the results could not be stored" in blind
    assert "The answer is 42" not in blind


def test_the_times_of_the_timeline_are_local(root: Client, batch: MessageBatch) -> None:
    batch.log_event("noted", "at noon")
    batch.events.update(at=datetime(2026, 7, 1, 10, tzinfo=UTC))
    assert "July 1, 2026, noon" in page(root, url(BATCHES, "change", batch.pk))


@pytest.mark.database
def test_while_results_come_the_list_counts_the_kinds_of_error_itself(root: Client, ingested: MessageBatch) -> None:
    """The counts stored on the batch are of an earlier ingest."""
    first = ingested.results.get(result_type="succeeded")
    BatchResult.objects.filter(pk=first.pk).update(result_type="errored", error_type="new_error")

    def found() -> list[str]:
        response = root.get(url(RESULTS), {"batch": ingested.pk, "error_type": "new_error"})
        return [row.custom_id for row in response.context["cl"].result_list]

    assert found() == []
    in_state(ingested, State.ENDED, ingested_at=None)
    assert found() == [first.custom_id]
    in_state(ingested, State.LOST, ingested_at=None, error_groups=None)
    assert found() == [first.custom_id]


def test_a_batch_is_found_by_a_whole_custom_id_by_those_who_may_see_its_rows(
    root: Client, staff: Staff, ingested: MessageBatch
) -> None:
    def found(client: Client, **query: Any) -> list[int]:
        return [row.pk for row in client.get(url(BATCHES), query).context["cl"].result_list]

    draft(1, label="another")
    adopted = in_state(MessageBatch.objects.create(), State.INGESTED)
    BatchResult.objects.create(batch=adopted, custom_id="theirs", result_type="succeeded")
    assert ingested.pk in found(root, q="r-2")
    assert found(root, q="r-") == []
    assert found(root, q="theirs") == [adopted.pk]
    assert ingested.pk not in found(staff("view_messagebatch"), q="r-2")
    assert found(staff("view_messagebatch", "view_batchrequest", username="ida"), q="theirs") == []


@pytest.mark.parametrize(
    ("query", "days", "is_shown"),
    slow_but(
        2,
        [
            ({"age": "1"}, 0.5, True),
            ({"age": "1"}, 2, False),
            ({"age": "7"}, 6, True),
            ({"age": "30"}, 29, True),
            ({"age": "30"}, 31, False),
            ({"age": "more"}, 31, True),
            ({"age": "more"}, 29, False),
            ({"age": "nonsense"}, 1, True),
        ],
    ),
)
def test_batches_are_filtered_by_age(
    root: Client, batch: MessageBatch, query: Any, days: float, is_shown: bool
) -> None:
    MessageBatch.objects.update(drafted_at=timezone.now() - timedelta(days=days))
    response = root.get(url(BATCHES), query)
    assert bool(response.context["cl"].result_list) == is_shown


def test_batches_that_need_attention_are_filtered(root: Client) -> None:
    wanted = {in_state(draft(1), state).pk for state in (State.REJECTED, State.UNCERTAIN)}
    in_state(draft(1), State.INGESTED)
    response = root.get(url(BATCHES), {"attention": "yes"})
    assert {row.pk for row in response.context["cl"].result_list} == wanted


def test_a_request_without_a_result_is_found_beside_its_batch(root: Client, ingested: MessageBatch) -> None:
    ingest(draft(1))
    response = root.get(url(REQUESTS), {"batch": ingested.pk, "outcome": "missing"})
    assert [row.custom_id for row in response.context["cl"].result_list] == ["r-2"]


def test_answers_at_another_price_are_counted_on_the_page(root: Client, ingested: MessageBatch) -> None:
    words = "2 results: Anthropic answered them in another service tier."
    assert words not in page(root, url(BATCHES, "change", ingested.pk))
    ingested.usage.update(other_tier_results=2)
    assert words in page(root, url(BATCHES, "change", ingested.pk))
