"""A result's page: question and answer side by side, the previous and the next result, and then the rest, folded."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client

from django_claude_batches.models import BatchRequest, BatchResult, MessageBatch, State
from tests.admin.admin_pages import ANSWER, HOSTILE, PROMPT, RESULTS, in_state, page, url
from tests.admin.conftest import Staff
from tests.admin.results.test_list import answer_all
from tests.harness.factories import draft, item

pytestmark = pytest.mark.django_db


def first(batch: MessageBatch) -> BatchResult:
    return batch.results.get(custom_id="r-0")


def shown_first(client: Client, result: BatchResult, **query: Any) -> str:
    """Return the part of the page above the folded sections."""
    return page(client, url(RESULTS, "change", result.pk), **query).partition("<details")[0]


def test_question_and_answer_come_first(root: Client, ingested: MessageBatch) -> None:
    shown = shown_first(root, first(ingested))
    assert shown.index(PROMPT) < shown.index(ANSWER)
    assert "dcb-pair" in shown


def test_the_system_prompt_and_earlier_messages_are_part_of_the_question(root: Client) -> None:
    messages = [{"role": "user", "content": "One?"}, {"role": "assistant", "content": [{"type": "text", "text": "1"}]}]
    messages.append({"role": "user", "content": [{"type": "image", "source": {}}, {"type": "text", "text": HOSTILE}]})
    batch = MessageBatch.objects.create_draft([item(0, system=[{"type": "text", "text": "Count."}], messages=messages)])
    shown = shown_first(root, first(answer_all(batch)))
    for text in ("System prompt", "Count.", "user: One?", "assistant: 1", "user: [image]\n&lt;script&gt;"):
        assert text in shown
    assert HOSTILE not in shown


def test_the_question_is_shown_only_to_those_who_may_view_requests(staff: Staff, ingested: MessageBatch) -> None:
    client = staff("view_batchresult")
    shown = page(client, url(RESULTS, "change", first(ingested).pk))
    assert ANSWER in shown
    assert PROMPT not in shown
    assert "Question<" not in shown
    assert staff("view_batchrequest", username="eve").get(url(RESULTS, "change", 1)).status_code == 403


def test_what_was_purged_or_erased_says_so_in_its_place(root: Client, ingested: MessageBatch) -> None:
    result = first(ingested)
    BatchRequest.objects.filter(pk=result.request_id).update(params_text="")
    at = "2026-11-01T12:00Z"
    MessageBatch.objects.filter(pk=ingested.pk).update(request_purge_began_at=at, result_purge_began_at=at)
    BatchResult.objects.filter(pk=result.pk).update(message=None)
    assert shown_first(root, result).count("Purged on Nov. 1, 2026.") == 2


def test_an_answer_without_a_known_request_is_shown_alone(root: Client) -> None:
    batch = in_state(draft(1), State.INGESTED, body_bytes=0)
    message = {"content": [{"type": "text", "text": ANSWER}]}
    result = BatchResult.objects.create(batch=batch, custom_id="a", result_type="succeeded", message=message)
    shown = shown_first(root, result)
    assert ANSWER in shown
    assert "dcb-pair" not in shown


@pytest.mark.database
def test_an_output_is_a_table(root: Client, ingested: MessageBatch) -> None:
    output = {"tags": ["late", HOSTILE], "score": 4, "note": "two\nlines", "more": {"deep": [1]}, "none": None}
    ingested.results.filter(custom_id="r-0").update(output=output)
    shown = shown_first(root, first(ingested))
    rows = dict(re.findall(r'<th scope="row">(.*?)</th><td>(.*?)</td>', shown, re.DOTALL))
    assert list(rows) == list(output) or sorted(rows) == sorted(output)  # jsonb has an order of its own
    assert rows["tags"].startswith("late, &lt;script&gt;")
    assert (rows["score"], rows["note"], rows["none"]) == ("4", "two\nlines", "null")
    assert HOSTILE not in shown


@pytest.mark.parametrize("output", [[1, 2], {}, "text", 5])
def test_an_output_that_is_no_object_is_shown_as_json(root: Client, ingested: MessageBatch, output: Any) -> None:
    ingested.results.filter(custom_id="r-0").update(output=output)
    shown = shown_first(root, first(ingested))
    assert json.dumps(output, indent=2).replace('"', "&quot;") in shown


def test_an_error_is_shown_in_place_of_the_answer(root: Client, ingested: MessageBatch) -> None:
    shown = shown_first(root, ingested.results.get(custom_id="r-1"))
    assert "invalid_request_error: no &lt;script&gt;" in shown


def test_the_rest_is_folded(root: Client, ingested: MessageBatch) -> None:
    shown = page(root, url(RESULTS, "change", first(ingested).pk))
    for heading in ("Details", "Message"):
        assert re.search(rf"<summary>\s*(<h2[^>]*>)?{heading}", shown), heading
    assert "<details open" not in shown


def neighbors(client: Client, result: BatchResult, **query: Any) -> dict[str, str]:
    shown = client.get(url(RESULTS, "change", result.pk), query).context["dcb_near"]
    return {label: custom_id for label, _url, custom_id in shown}


@pytest.mark.database
def test_the_previous_and_the_next_result_are_those_of_the_requests(root: Client) -> None:
    batch = answer_all(draft(12), backwards=True)
    answer_all(draft(12))
    results = {result.custom_id: result for result in batch.results.all()}
    assert neighbors(root, results["r-0"]) == {"Next": "r-1"}
    assert neighbors(root, results["r-9"]) == {"Previous": "r-8", "Next": "r-10"}
    assert neighbors(root, results["r-11"]) == {"Previous": "r-10"}


def test_the_neighbors_are_those_of_the_list_from_which_the_page_was_opened(root: Client) -> None:
    batch = answer_all(draft(6))
    batch.results.filter(custom_id__in=["r-0", "r-3", "r-5"]).update(stop_reason="max_tokens")
    result = batch.results.get(custom_id="r-3")
    filters = urlencode({"batch": batch.pk, "outcome": "truncated"})
    assert neighbors(root, result, _changelist_filters=filters) == {"Previous": "r-0", "Next": "r-5"}
    shown = page(root, url(RESULTS, "change", result.pk), _changelist_filters=filters)
    query = urlencode({"_changelist_filters": filters})
    assert f'{url(RESULTS, "change", batch.results.get(custom_id="r-5").pk)}?{query}"' in shown
    other = urlencode({"batch": batch.pk + 1, "outcome": "truncated"})
    for kept in (other, "", "nonsense", "outcome=nonsense", urlencode({"batch": batch.pk, "outcome": "x"})):
        assert neighbors(root, result, _changelist_filters=kept) == {"Previous": "r-2", "Next": "r-4"}


def test_neighbors_of_a_batch_made_elsewhere_are_in_the_order_of_their_custom_ids(root: Client) -> None:
    batch = in_state(draft(1), State.INGESTED, body_bytes=0)
    for custom_id in ("b", "a", "c"):
        BatchResult.objects.create(batch=batch, custom_id=custom_id, result_type="succeeded", message={})
    assert neighbors(root, batch.results.get(custom_id="b")) == {"Previous": "a", "Next": "c"}


def test_a_result_without_a_request_in_a_batch_of_ours_has_no_neighbors(root: Client, ingested: MessageBatch) -> None:
    lost = BatchResult.objects.create(batch=ingested, custom_id="lost", result_type="succeeded", message={})
    assert neighbors(root, lost) == {}


def test_a_question_of_a_megabyte_is_read_in_part(root: Client, django_assert_max_num_queries: Any) -> None:
    batch = answer_all(MessageBatch.objects.create_draft([item(0, system="y" * 1_000_000)]))
    with django_assert_max_num_queries(10):
        shown = page(root, url(RESULTS, "change", first(batch).pk))
    assert "The page of the request has all of it." in shown
    assert len(shown) < 200_000
