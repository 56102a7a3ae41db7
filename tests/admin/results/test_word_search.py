"""Words of one batch's answers are searched in their texts, up to a number of rows or seconds."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.test import Client

from django_claude_batches.admin.results.word_search import WordSearch, search_batch, words_of
from django_claude_batches.models import BatchResult, MessageBatch, State
from tests.admin.admin_pages import HOSTILE, RESULTS, in_state, page, url
from tests.admin.conftest import Staff
from tests.admin.results.test_list import noise
from tests.harness.factories import draft

pytestmark = [pytest.mark.django_db, pytest.mark.database]

TEXTS = ("The parcel came late, a refund please", "Größe zu klein", "“Refund” the\nrest", 'text "role" content', "late")


@pytest.fixture
def answered(db: None) -> MessageBatch:
    batch = draft(len(TEXTS) + 1)
    for request, text in zip(reversed(batch.requests.order_by("position")), ("", *reversed(TEXTS)), strict=True):
        message = {"role": "assistant", "content": [{"type": "text", "text": text}]}
        succeeded = {"result_type": "succeeded", "stop_reason": "end_turn", "message": message}
        errored = {"result_type": "errored", "error_type": "api_error", "error_message": "Refund of tokens"}
        BatchResult.objects.create(
            batch=batch, request=request, custom_id=request.custom_id, **(succeeded if text else errored)
        )
    return in_state(batch, State.INGESTED)


def searched(client: Client, batch: MessageBatch, words: str, **query: Any) -> Any:
    return client.get(url(RESULTS), {"batch": batch.pk, "q": words, "in": "answers", **query}).context["cl"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("refund", ["r-0", "r-2", "r-5"]),
        ("REFUND late", ["r-0"]),
        ("late refund", ["r-0"]),
        ('"a refund"', ["r-0"]),
        ("'late refund'", []),
        ("größe", ["r-1"]),
        ("GRÖSSE", ["r-1"]),
        ("role", ["r-3"]),  # a word of an answer, and a key of all
        ("assistant", []),
        ("u00f6", []),
        ("\\n", []),
        ("%", []),
        (HOSTILE, []),
        ('"', ["r-3"]),
    ],
)
def test_words_are_found_in_texts_and_not_in_keys_or_escapes(
    root: Client, answered: MessageBatch, words: str, expected: list[str]
) -> None:
    found = searched(root, answered, words)
    assert [row.custom_id for row in found.result_list] == expected


def test_the_page_says_what_was_searched(root: Client, answered: MessageBatch) -> None:
    shown = page(root, url(RESULTS), batch=answered.pk, q=f"{HOSTILE} late", **{"in": "answers"})
    assert "Searched: The text of 6 results, for “&lt;script&gt;" in shown
    assert HOSTILE not in shown
    assert '<option value="answers" selected>words of the answers</option>' in shown
    assert "Custom_ids that begin with “r-1”." in page(root, url(RESULTS), batch=answered.pk, q="r-1")
    assert "Whole custom_ids: “r-1”, in all batches." in page(root, url(RESULTS), q="r-1")
    assert "Searched:" not in page(root, url(RESULTS), batch=answered.pk)


def test_where_no_custom_id_is_found_a_link_searches_the_answers(root: Client, answered: MessageBatch) -> None:
    found = root.get(url(RESULTS), {"batch": answered.pk, "q": "refund"}).context["cl"]
    assert found.result_count == 0
    words = root.get(url(RESULTS) + found.search_answers).context["cl"]
    assert [row.custom_id for row in words.result_list] == ["r-0", "r-2", "r-5"]
    assert "Search the words of the answers</a>" in page(root, url(RESULTS), batch=answered.pk, q="refund")
    assert "Search the words of the answers</a>" not in page(root, url(RESULTS), batch=answered.pk, q="r-1")


def test_a_search_obeys_the_filters(root: Client, answered: MessageBatch) -> None:
    assert [row.custom_id for row in searched(root, answered, "refund", outcome="errored").result_list] == ["r-5"]
    assert searched(root, answered, "refund", outcome="errored").searched.startswith("The text of 1 result, ")


def test_a_search_needs_the_permission_of_the_list(staff: Staff, answered: MessageBatch) -> None:
    client = staff("view_messagebatch", "view_batchrequest")
    assert client.get(url(RESULTS), {"batch": answered.pk, "q": "refund", "in": "answers"}).status_code == 403


def test_outside_a_batch_custom_ids_are_searched(root: Client, answered: MessageBatch) -> None:
    found = root.get(url(RESULTS), {"q": "r-1", "in": "answers"}).context["cl"]
    assert [row.custom_id for row in found.result_list] == ["r-1"]
    assert found.search_choices == []


@pytest.mark.parametrize("query", [{"in": "nonsense"}, {"after": "nonsense"}, {"after": "9" * 18}, {"in": "answers"}])
def test_parameters_with_nonsense_do_no_harm(root: Client, answered: MessageBatch, query: dict[str, str]) -> None:
    for words in ("", "refund"):
        assert root.get(url(RESULTS), {"batch": answered.pk, "q": words, **query}).status_code == 200


def test_the_export_of_a_search_for_words_is_not_of_a_custom_id(root: Client, answered: MessageBatch) -> None:
    links = root.get(url(RESULTS), {"batch": answered.pk, "q": "refund", "in": "answers", "outcome": "errored"})
    [export] = [href for label, href in links.context["dcb_links"] if label == "Export results"]
    assert export.endswith("?outcome=errored")


def search(batch: MessageBatch, words: str, **limits: Any) -> WordSearch:
    return search_batch(batch.results.all(), batch, words_of(words), **limits)


def test_a_search_stops_at_its_limit_and_says_where(answered: MessageBatch) -> None:
    found = search(answered, "refund", max_rows=2)
    assert (found.rows, len(found.pks), found.last) == (2, 1, 1)
    assert found.describe("refund") == "The text of 2 results, for “refund”."
    out_of_time = search(answered, "refund", max_seconds=0)
    assert (out_of_time.rows, out_of_time.last) == (6, 5)


def test_a_search_within_few_results_looks_at_the_clock_while_others_are_skipped(answered: MessageBatch) -> None:
    errored = answered.results.filter(result_type="errored")
    found = search_batch(errored, answered, ["refund"], window_rows=2)
    assert (found.rows, len(found.pks), found.last) == (1, 1, None)
    out_of_time = search_batch(errored, answered, ["refund"], window_rows=2, max_seconds=0)
    assert (out_of_time.rows, out_of_time.pks, out_of_time.last) == (0, [], 1)
    following = search_batch(errored, answered, ["refund"], window_rows=2, after="1")
    assert len(following.pks) == 1


@pytest.mark.parametrize("window_rows", [1, 2, 3, 6, 7])
@pytest.mark.parametrize("said", [0, 6, 100])
def test_no_result_is_left_out_whatever_the_batch_says_of_their_number(
    answered: MessageBatch, window_rows: int, said: int
) -> None:
    answered.request_count = said
    found = search_batch(answered.results.all(), answered, ["refund"], window_rows=window_rows)
    assert (found.rows, len(found.pks), found.last) == (6, 3, None)


def test_a_search_continues_where_it_stopped(root: Client, answered: MessageBatch) -> None:
    found = searched(root, answered, "refund", after="1")
    assert [row.custom_id for row in found.result_list] == ["r-2", "r-5"]
    assert found.search_on == ""


def test_a_link_continues_the_search(root: Client, answered: MessageBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin.site.get_model_admin(BatchResult), "max_searched_rows", 2)
    first = searched(root, answered, "refund")
    assert [row.custom_id for row in first.result_list] == ["r-0"]
    following = root.get(url(RESULTS) + first.search_on).context["cl"]
    assert [row.custom_id for row in following.result_list] == ["r-2"]
    assert f'<a href="{first.search_on.replace("&", "&amp;")}">Search the following results</a>' in page(
        root, url(RESULTS), batch=answered.pk, q="refund", **{"in": "answers"}
    )
    assert 'name="after"' not in page(root, url(RESULTS) + first.search_on)


def test_results_of_a_batch_made_elsewhere_are_searched(root: Client) -> None:
    batch = in_state(draft(1), State.INGESTED, body_bytes=0)
    for custom_id, text in (("b", "late"), ("a", "late"), ("c", "early")):
        message = {"content": [{"type": "text", "text": text}]}
        BatchResult.objects.create(batch=batch, custom_id=custom_id, result_type="succeeded", message=message)
    assert [row.custom_id for row in searched(root, batch, "late").result_list] == ["a", "b"]
    assert [row.custom_id for row in searched(root, batch, "late", after="a").result_list] == ["b"]


def test_long_and_purged_answers_are_not_read_and_the_long_ones_counted(answered: MessageBatch) -> None:
    long = {"content": [{"type": "text", "text": f"refund {noise()}"}]}
    answered.results.filter(custom_id="r-0").update(message=long)
    answered.results.filter(custom_id="r-2").update(message=None)
    answered.results.filter(custom_id="r-5").update(error_message="")
    found = search(answered, "refund")
    assert (found.pks, found.rows, found.long_answers, found.last) == ([], 6, 1, None)
    assert found.describe("refund").endswith("“refund”. 1 long answer was not read.")


def test_a_small_batch_is_searched_by_two_more_queries(
    root: Client, answered: MessageBatch, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(9):
        page(root, url(RESULTS), batch=answered.pk)
    with django_assert_max_num_queries(11):
        page(root, url(RESULTS), batch=answered.pk, q="refund", **{"in": "answers"})
