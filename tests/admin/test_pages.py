"""Every page opens, also with a search term and with each filter."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.models import AccountState, BatchRequest, BatchResult, MessageBatch, State
from django_claude_batches.testing import ClaudeEmulator
from tests.admin.admin_pages import (
    ACCOUNTS,
    ANSWER,
    BATCHES,
    HOSTILE,
    PROMPT,
    REQUESTS,
    RESULTS,
    RUNS,
    in_state,
    ingest,
    page,
    url,
)
from tests.harness.factories import draft, item
from tests.harness.library.models import Book
from tests.harness.selections import slow_but

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("model", slow_but(2, [BATCHES, RESULTS, REQUESTS, ACCOUNTS]))
@pytest.mark.parametrize("query", slow_but(2, [{}, {"q": "r-1"}, {"q": HOSTILE}, {"q": "#1"}, {"p": "1"}]))
def test_each_list_opens(root: Client, ingested: MessageBatch, model: str, query: dict[str, str]) -> None:
    assert HOSTILE not in page(root, url(model), **query)


@pytest.mark.parametrize(
    ("model", "said"),
    [(BATCHES, "uploaded file"), (RUNS, "start of a job"), (REQUESTS, "with their batches"), (RESULTS, "has ended")],
)
def test_an_empty_list_says_where_its_rows_come_from(root: Client, model: str, said: str) -> None:
    [told] = re.findall(r'<div class="dcb-empty">\s*<p>(.*?)</p>', page(root, url(model)))
    assert said in told
    assert (f'<a href="{url(BATCHES)}">' in told) == (model in {REQUESTS, RESULTS})
    assert "dcb-empty" not in page(root, url(model), q="x")


def test_each_page_names_its_time_zone_once(root: Client, ingested: MessageBatch) -> None:
    account = AccountState.objects.get_or_create(alias="default")[0]
    addresses = [url(model) for model in (BATCHES, RUNS, ACCOUNTS)]
    addresses += [url(ACCOUNTS, "change", account.pk), url(BATCHES, "change", ingested.pk)]
    addresses += [url(RESULTS, "change", ingested.results.all()[0].pk)]
    for address in addresses:
        assert page(root, address).count("All times on this page are those of") == 1, address
    assert "All times" not in page(root, url(RESULTS))


def test_a_list_with_rows_or_of_a_batch_does_not(root: Client, batch: MessageBatch) -> None:
    assert "dcb-empty" not in page(root, url(BATCHES))
    assert "dcb-empty" not in page(root, url(RESULTS), batch=batch.pk)


def test_the_index_shows_batches_results_and_accounts(root: Client) -> None:
    shown = page(root, "/admin/")
    for model in (BATCHES, RESULTS, ACCOUNTS):
        assert url(model) in shown
    assert url(REQUESTS) not in shown
    assert url(RESULTS, "add") not in shown


@pytest.mark.parametrize("state", slow_but(2, State))
def test_the_page_of_a_batch_in_each_state_says_what_it_means(root: Client, batch: MessageBatch, state: State) -> None:
    in_state(batch, state, expires_at=timezone.now(), last_error=HOSTILE, label=HOSTILE)
    shown = page(root, url(BATCHES, "change", batch.pk))
    assert str(State(state).label) in shown
    assert (
        batch.explanation.replace("'", "&#x27;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
        in shown
    )
    assert HOSTILE not in shown
    assert HOSTILE not in page(root, url(BATCHES))


def test_the_page_of_a_batch_tells_its_life_and_links_to_its_rows(root: Client, ingested: MessageBatch) -> None:
    ingested.log_event("submitted", "by hand")
    child = services.retry(ingested)
    shown = page(root, url(BATCHES, "change", ingested.pk))
    assert f"{url(RESULTS)}?batch={ingested.pk}&amp;outcome=errored" in shown
    assert f"{url(REQUESTS)}?batch={ingested.pk}&amp;outcome=missing" in shown
    for text in ("by hand", "Submitted", "1,234", f"tag{ingested.pk:010d}", ANSWER, url(BATCHES, "change", child.pk)):
        assert text in shown
    assert url(BATCHES, "change", ingested.pk) in page(root, url(BATCHES, "change", child.pk))


def test_requested_changes_are_shown_until_they_are_made(root: Client, batch: MessageBatch) -> None:
    now = timezone.now()
    in_state(batch, State.IN_PROGRESS, cancel_requested_at=now, delete_requested_at=now)
    shown = page(root, url(BATCHES, "change", batch.pk))
    assert "Cancellation requested" in shown
    assert "Deletion at Anthropic requested" in shown
    in_state(batch, State.INGESTED, remote_deleted_at=now)
    shown = page(root, url(BATCHES, "change", batch.pk))
    assert "Cancellation requested" not in shown
    assert "Deletion at Anthropic requested" not in shown


def test_an_unconfirmed_batch_says_how_it_is_identified(root: Client, batch: MessageBatch) -> None:
    in_state(batch, State.UNCERTAIN)
    shown = page(root, url(BATCHES, "change", batch.pk))
    assert f"manage.py claude_batches adopt ID --for-batch {batch.pk}" in shown


def test_the_bar_has_a_text(root: Client, ingested: MessageBatch) -> None:
    shown = page(root, url(BATCHES))
    assert 'role="img" aria-label="1 succeeded, 1 errored, 1 missing"' in shown
    assert "2 requests" in page(root, url(BATCHES), q=str(draft(2).pk))


def test_a_result_and_its_request_link_to_each_other_and_to_the_batch(root: Client, ingested: MessageBatch) -> None:
    result = ingested.results.succeeded().get()
    of_result = page(root, url(RESULTS, "change", result.pk))
    of_request = page(root, url(REQUESTS, "change", result.request_id))
    assert ANSWER in of_result
    assert PROMPT in of_request
    assert url(REQUESTS, "change", result.request_id) in of_result
    assert url(RESULTS, "change", result.pk) in of_request
    for shown in (of_result, of_request):
        assert url(BATCHES, "change", ingested.pk) in shown


def test_the_lists_of_a_batch_link_to_each_other(root: Client, ingested: MessageBatch) -> None:
    other = draft(1)
    of_requests = page(root, url(REQUESTS), batch=ingested.pk)
    assert f"{url(RESULTS)}?batch={ingested.pk}" in of_requests
    assert len(root.get(url(REQUESTS), {"batch": ingested.pk}).context["cl"].result_list) == 3
    assert url(BATCHES, "change", other.pk) in page(root, url(REQUESTS))
    assert f"{url(REQUESTS)}?batch={ingested.pk}" in page(root, url(RESULTS), batch=ingested.pk)


def test_model_output_is_never_markup(root: Client, batch: MessageBatch) -> None:
    ingest(batch, text=HOSTILE)
    BatchResult.objects.update(raw=HOSTILE.encode())
    for result in batch.results.all():
        shown = page(root, url(RESULTS, "change", result.pk))
        assert HOSTILE not in shown
        assert "&lt;script&gt;" in shown
    assert HOSTILE not in page(root, url(RESULTS), batch=batch.pk)


def test_a_prompt_is_never_markup(root: Client) -> None:
    hostile = item(0, system=HOSTILE, model=HOSTILE)
    batch = MessageBatch.objects.create_draft([hostile])
    assert HOSTILE not in page(root, url(REQUESTS, "change", batch.requests.get().pk))
    assert HOSTILE not in page(root, url(REQUESTS), batch=batch.pk)


def test_a_long_text_is_cut_and_says_so(root: Client, batch: MessageBatch) -> None:
    ingest(batch, text="x" * 100_001 + "END")
    shown = page(root, url(RESULTS, "change", batch.results.succeeded().get().pk))
    assert "Cut here: the first 100,000 of 100,004 characters." in shown
    assert "xEND" not in shown
    large = MessageBatch.objects.create_draft([item(0, system="y" * 100_000)])
    assert "Cut here" in page(root, url(REQUESTS, "change", large.requests.get().pk))


def test_a_request_names_its_target(root: Client) -> None:
    book = Book.objects.create(title="Emma")
    batch = MessageBatch.objects.create_draft([{**item(0), "target": book}])
    assert f"book {book.pk}" in page(root, url(REQUESTS), batch=batch.pk)
    assert f"book {book.pk}" in page(root, url(REQUESTS, "change", batch.requests.get().pk))


FILTERS: list[tuple[str, dict[str, Any], str, str]] = [
    (BATCHES, {"state__exact": "draft"}, "a-draft", "done"),
    (BATCHES, {"kind": "tags"}, "done", "a-draft"),
    (BATCHES, {"account": "default"}, "done", "a-draft"),
    (BATCHES, {"q": "do"}, "done", "a-draft"),
    (BATCHES, {"q": "tags"}, "done", "a-draft"),
]


@pytest.mark.parametrize(("model", "query", "shown", "hidden"), FILTERS)
def test_batches_are_filtered_and_searched(
    root: Client, batch: MessageBatch, model: str, query: dict[str, Any], shown: str, hidden: str
) -> None:
    in_state(batch, State.INGESTED, label="done", kind="tags")
    draft(1, label="a-draft", account="second")
    found = page(root, url(model), **query)
    assert f'"{shown}"'.replace('"', "&quot;") in found
    assert f'"{hidden}"'.replace('"', "&quot;") not in found


def test_a_batch_is_found_by_its_id_at_anthropic_and_by_its_number(root: Client, ingested: MessageBatch) -> None:
    draft(1, label="another")
    for term in (f"msgbatch_{ingested.pk}", f"#{ingested.pk}", str(ingested.pk)):
        shown = page(root, url(BATCHES), q=term)
        assert url(BATCHES, "change", ingested.pk) in shown
        assert "another" not in shown


@pytest.mark.parametrize(
    ("outcome", "expected"),
    slow_but(
        2,
        [
            ("succeeded", {"r-0"}),
            ("errored", {"r-1"}),
            ("canceled", set()),
            ("expired", set()),
            ("truncated", set()),
            ("refused", set()),
            ("nonsense", {"r-0", "r-1"}),
        ],
    ),
)
def test_results_of_a_batch_are_filtered_by_outcome(
    root: Client, ingested: MessageBatch, outcome: str, expected: set[str]
) -> None:
    response = root.get(url(RESULTS), {"batch": ingested.pk, "outcome": outcome})
    assert {row.custom_id for row in response.context["cl"].result_list} == expected


def test_requests_without_a_result_are_found(root: Client, ingested: MessageBatch) -> None:
    response = root.get(url(REQUESTS), {"batch": ingested.pk, "outcome": "missing"})
    assert [row.custom_id for row in response.context["cl"].result_list] == ["r-2"]


@pytest.mark.database
@pytest.mark.parametrize("model", [RESULTS, REQUESTS])
def test_a_custom_id_is_found_whole_everywhere_and_by_its_beginning_in_its_batch(
    root: Client, ingested: MessageBatch, model: str
) -> None:
    def found(**query: Any) -> list[str]:
        return [row.custom_id for row in root.get(url(model), query).context["cl"].result_list]

    assert found(q="r-1") == ["r-1"]
    assert found(q="r-") == []
    assert found(q="r-", batch=ingested.pk)[:2] == ["r-0", "r-1"]
    assert found(q="r-1", batch=ingested.pk + 1) == []


@pytest.mark.parametrize("query", [{"batch": "x"}, {"batch": "9" * 40}, {"nonsense": "1"}, {"p": "99"}])
def test_an_address_with_nonsense_does_no_harm(root: Client, ingested: MessageBatch, query: dict[str, str]) -> None:
    for model in (BATCHES, RESULTS, REQUESTS):
        assert root.get(url(model), query).status_code in (200, 302, 400)


def test_accounts_say_whether_they_send(root: Client) -> None:
    now = timezone.now()
    AccountState.objects.create(alias="one")
    AccountState.objects.create(alias="two", paused_at=now, pause_reason=HOSTILE)
    AccountState.objects.create(alias="three", paused_at=now, paused_until=now + timedelta(hours=1))
    shown = page(root, url(ACCOUNTS))
    for text in ("Sends", "Paused until a person resumes it", "Paused until "):
        assert text in shown
    for account in AccountState.objects.all():
        assert HOSTILE not in page(root, url(ACCOUNTS, "change", account.pk))


@pytest.mark.slow
def test_the_pages_of_a_batch_that_was_sent_and_fetched(
    claude: ClaudeEmulator, root: Client, batch: MessageBatch
) -> None:
    services.submit(batch)
    services.advance(batch)
    page(root, url(BATCHES, "change", batch.pk))
    claude.finish()
    services.advance(batch)
    assert "3 of 3 results are stored." in page(root, url(BATCHES, "change", batch.pk))
    assert len(root.get(url(RESULTS), {"batch": batch.pk}).context["cl"].result_list) == 3
    for result in batch.results.all():
        assert "Hello" in page(root, url(RESULTS, "change", result.pk))


@pytest.mark.parametrize("model", [RESULTS, REQUESTS, ACCOUNTS])
def test_nothing_is_added_by_hand(root: Client, model: str) -> None:
    assert root.get(url(model, "add")).status_code == 403


def test_mirrors_are_neither_changed_nor_deleted(root: Client, ingested: MessageBatch) -> None:
    result, account = ingested.results.first(), AccountState.objects.create(alias="default")
    request = BatchRequest.objects.first()
    for model, row in ((RESULTS, result), (REQUESTS, request), (ACCOUNTS, account)):
        assert root.post(url(model, "change", row.pk), {"custom_id": "other"}).status_code == 403
        assert root.get(url(model, "delete", row.pk)).status_code == 403
        assert root.get(url(model, "history", row.pk)).status_code == 200
    assert root.post(url(BATCHES, "change", ingested.pk), {"label": "other"}).status_code == 403


@pytest.mark.parametrize("state", slow_but(2, State))
def test_what_was_not_sent_has_an_estimate(root: Client, batch: MessageBatch, state: State) -> None:
    in_state(batch, state)
    shown = page(root, url(BATCHES, "change", batch.pk))
    estimate = "<dt>Estimate before sending</dt><dd>at most $0.01 by the prices of Nov. 22, 2026"
    assert (estimate in shown) == (state in {State.DRAFT, State.QUEUED, State.HELD, State.REJECTED})


def test_an_estimate_that_is_not_known_names_the_model_as_text(root: Client) -> None:
    batch = MessageBatch.objects.create_draft([item(0, model=HOSTILE)])
    shown = page(root, url(BATCHES, "change", batch.pk))
    assert "<dt>Estimate before sending</dt><dd>not known: no price for model &quot;&lt;script&gt;" in shown
    assert HOSTILE not in shown
