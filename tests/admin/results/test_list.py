"""The list of results: excerpts of answers, targets, permissions, and the order."""

from __future__ import annotations

import re
from random import Random
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.test import Client
from django.urls import path

from django_claude_batches.admin.results.excerpts import MAX_CHARACTERS, MAX_STORED_BYTES
from django_claude_batches.models import BatchRequest, BatchResult, MessageBatch, State
from tests.admin.admin_pages import ANSWER, HOSTILE, PROMPT, RESULTS, in_state, ingest, page, url
from tests.admin.conftest import Staff
from tests.harness.factories import draft, item
from tests.harness.library.models import Book

pytestmark = pytest.mark.django_db


def answer_all(batch: MessageBatch, backwards: bool = False, **columns: Any) -> MessageBatch:
    """Answer each request of the batch; the results may arrive in another order."""
    requests = list(batch.requests.order_by("position"))
    for request in reversed(requests) if backwards else requests:
        message = {"content": [{"type": "text", "text": f"{ANSWER}, {request.custom_id}"}]}
        values = {"result_type": "succeeded", "stop_reason": "end_turn", "message": message, **columns}
        BatchResult.objects.create(batch=batch, request=request, custom_id=request.custom_id, **values)
    return in_state(batch, State.INGESTED)


def listed(client: Client, **query: Any) -> list[str]:
    return [row.custom_id for row in client.get(url(RESULTS), query).context["cl"].result_list]


def cell(shown: str, name: str) -> str:
    """Return the text of the column's cell in the first row."""
    found = re.search(rf'<t[dh] class="field-{name}[^"]*">(.*?)</t[dh]>', shown, re.DOTALL)
    assert found, name
    return re.sub(r"<[^>]*>", "", found[1])


def test_the_list_shows_the_beginning_of_an_answer_and_not_the_prompt(root: Client, ingested: MessageBatch) -> None:
    shown = page(root, url(RESULTS), batch=ingested.pk)
    assert ANSWER in shown
    assert PROMPT not in shown
    assert "invalid_request_error: no &lt;script&gt;" in shown
    assert ANSWER in page(root, url(RESULTS))


def test_answers_are_listed_only_for_users_who_may_read_them(staff: Staff, ingested: MessageBatch) -> None:
    assert staff("view_messagebatch", "view_batchrequest").get(url(RESULTS)).status_code == 403
    assert ANSWER in page(staff("view_batchresult", username="ida"), url(RESULTS))


@pytest.mark.database
def test_a_long_answer_is_not_read_and_a_short_one_is_cut_to_a_line(root: Client, batch: MessageBatch) -> None:
    ingest(batch, text=f"{HOSTILE}\n\n" + "word " * 100)
    shown = cell(page(root, url(RESULTS), batch=batch.pk), "answer")
    assert shown.startswith("&lt;script&gt;")
    assert shown.endswith("…")
    assert "\n" not in shown
    assert len(shown) < 2 * MAX_CHARACTERS
    message = {"content": [{"type": "text", "text": noise()}]}
    batch.results.filter(result_type="succeeded").update(message=message)
    assert cell(page(root, url(RESULTS), batch=batch.pk), "answer") == "long answer"


@pytest.mark.database
@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ({"content": [{"type": "tool_use", "input": {}}]}, "[tool_use]"),
        ({"content": "text"}, "-"),
        ({"content": ["text", 5]}, "-"),
        ([], "-"),
        ("", "-"),
        ({}, "-"),
    ],
)
def test_an_answer_of_any_form_has_a_cell(root: Client, ingested: MessageBatch, message: Any, shown: str) -> None:
    ingested.results.filter(result_type="succeeded").update(message=message)
    assert cell(page(root, url(RESULTS), batch=ingested.pk), "answer") == shown


def test_a_purged_answer_says_so_in_the_list(root: Client, ingested: MessageBatch) -> None:
    MessageBatch.objects.filter(pk=ingested.pk).update(result_purge_began_at="2026-11-01T12:00Z")
    ingested.results.filter(result_type="succeeded").update(message=None)
    shown = page(root, url(RESULTS), batch=ingested.pk)
    assert cell(shown, "answer") == "Purged on Nov. 1, 2026."
    assert ANSWER not in shown


def test_an_erased_request_says_so_in_the_list(root: Client, ingested: MessageBatch) -> None:
    result = ingested.results.get(result_type="succeeded")
    BatchRequest.objects.filter(pk=result.request_id).update(erased_at="2026-11-02T12:00Z", params_text="")
    BatchResult.objects.filter(pk=result.pk).update(message=None)
    assert cell(page(root, url(RESULTS), batch=ingested.pk), "answer") == "Erased on Nov. 2, 2026."
    assert "Erased on Nov. 2, 2026." in page(root, url(RESULTS, "change", result.pk))


@pytest.mark.parametrize(
    ("reason", "label"), [("max_tokens", "cut off"), ("refusal", "refused"), ("end_turn", "succeeded")]
)
def test_an_answer_that_cannot_be_used_is_not_said_to_have_succeeded(
    root: Client, ingested: MessageBatch, reason: str, label: str
) -> None:
    ingested.results.filter(result_type="succeeded").update(stop_reason=reason)
    shown = page(root, url(RESULTS), batch=ingested.pk, outcome="succeeded")
    assert cell(shown, "outcome").strip() == label
    assert ('class="dcb-flag"' in shown) == (reason != "end_turn")


def test_tokens_are_in_one_column_and_those_of_the_cache_are_counted(root: Client, ingested: MessageBatch) -> None:
    results = ingested.results.filter(result_type="succeeded")
    results.update(input_tokens=96, cache_read_tokens=1830, output_tokens=1052, cost_usd="0.0004")
    shown = page(root, url(RESULTS), batch=ingested.pk, outcome="succeeded")
    assert cell(shown, "tokens") == "1,926 in 1,052 out"
    assert 'title="1,830 of these were read from the cache."' in shown
    assert "0.0004 USD" in shown


@pytest.mark.database
def test_results_are_in_the_order_of_the_requests(root: Client) -> None:
    batch = answer_all(draft(12), backwards=True)
    expected = [f"r-{number}" for number in range(12)]
    assert listed(root, batch=batch.pk) == expected
    assert listed(root, batch=batch.pk, outcome="usable") == expected
    assert listed(root, batch=batch.pk, q="r-1") == ["r-1", "r-10", "r-11"]


def test_results_are_in_the_order_of_the_requests_on_each_page(root: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin.site.get_model_admin(BatchResult), "list_per_page", 5)
    batch = answer_all(draft(12), backwards=True)
    found = [listed(root, batch=batch.pk, p=number) for number in (1, 2, 3)]
    assert [name for each in found for name in each] == [f"r-{number}" for number in range(12)]
    assert [len(each) for each in found] == [5, 5, 2]


def test_results_of_a_batch_made_elsewhere_are_in_the_order_of_their_custom_ids(root: Client) -> None:
    batch = in_state(draft(1), State.INGESTED, body_bytes=0)
    for custom_id in ("b", "a", "c"):
        BatchResult.objects.create(batch=batch, custom_id=custom_id, result_type="succeeded", message={})
    assert listed(root, batch=batch.pk) == ["a", "b", "c"]


def test_results_without_a_request_are_listed_all_the_same(root: Client, ingested: MessageBatch) -> None:
    BatchResult.objects.create(batch=ingested, custom_id="lost", result_type="succeeded", message={})
    assert sorted(listed(root, batch=ingested.pk)) == ["lost", "r-0", "r-1"]


def noise() -> str:
    """Return a text that stays long even if the database compresses it."""
    return "".join(map(chr, Random(0).choices(range(0x4E00, 0x9FA5), k=MAX_STORED_BYTES)))


class Targets:
    """Register a page for books on the admin site, as a project does."""

    def __init__(self, settings: Any, page: Any = admin.ModelAdmin) -> None:
        admin.site.register(Book, page)
        settings.ROOT_URLCONF = type("Urls", (), {"urlpatterns": [path("admin/", admin.site.urls)]})


@pytest.fixture
def site_with_books(settings: Any) -> Any:
    yield Targets(settings)
    admin.site.unregister(Book)


@pytest.fixture
def about_a_book(batch: MessageBatch) -> tuple[MessageBatch, Book]:
    book = Book.objects.create(title="Emma")
    return answer_all(MessageBatch.objects.create_draft([{**item(0), "target": book}, item(1)])), book


def test_a_target_is_named_and_not_linked_where_it_has_no_page(root: Client, about_a_book: Any) -> None:
    batch, book = about_a_book
    assert cell(page(root, url(RESULTS), batch=batch.pk), "target_link") == f"book {book.pk}"
    assert f"/library/book/{book.pk}/" not in page(root, url(RESULTS), batch=batch.pk)


@pytest.mark.usefixtures("site_with_books")
def test_a_target_is_a_link_to_its_page(root: Client, about_a_book: Any) -> None:
    batch, book = about_a_book
    assert f'<a href="/admin/library/book/{book.pk}/change/">book {book.pk}</a>' in page(
        root, url(RESULTS), batch=batch.pk
    )


@pytest.mark.usefixtures("site_with_books")
def test_a_target_is_a_link_for_those_who_may_view_it_and_shown_to_those_who_may_view_requests(
    staff: Staff, about_a_book: Any
) -> None:
    batch, book = about_a_book
    link = f'href="/admin/library/book/{book.pk}/change/"'
    answers = staff("view_batchresult", username="ida")
    assert f"book {book.pk}" not in page(answers, url(RESULTS), batch=batch.pk)
    both = staff("view_batchresult", "view_batchrequest", username="eve")
    assert f"book {book.pk}" in (shown := page(both, url(RESULTS), batch=batch.pk))
    assert link not in shown
    permission = Permission.objects.get(codename="view_book", content_type__app_label="library")
    User.objects.get(username="eve").user_permissions.add(permission)
    assert link in page(both, url(RESULTS), batch=batch.pk)


def test_a_page_of_the_project_with_other_addresses_is_no_link(root: Client, about_a_book: Any, settings: Any) -> None:
    class Other(admin.ModelAdmin):  # type: ignore[type-arg]
        def get_urls(self) -> list[Any]:
            return [path("", self.changelist_view, name="library_book_changelist")]

    batch, book = about_a_book
    Targets(settings, Other)
    try:
        assert cell(page(root, url(RESULTS), batch=batch.pk), "target_link") == f"book {book.pk}"
    finally:
        admin.site.unregister(Book)


def test_a_target_whose_model_is_gone_is_named(root: Client, about_a_book: Any, gone_model: ContentType) -> None:
    batch, _book = about_a_book
    BatchRequest.objects.filter(batch=batch, position=0).update(content_type=gone_model, object_id="a/b")
    assert cell(page(root, url(RESULTS), batch=batch.pk), "target_link") == "leaflet a/b"


def test_the_column_of_targets_gives_way_where_no_row_has_one(root: Client, ingested: MessageBatch) -> None:
    assert "field-target_link" not in page(root, url(RESULTS), batch=ingested.pk)
