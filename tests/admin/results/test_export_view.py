"""The export of results: choices of the page, permissions, and the downloaded file."""

from __future__ import annotations

import csv
import io
import itertools
import json
from html.parser import HTMLParser
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.admin.views.main import SEARCH_VAR
from django.contrib.auth.models import User
from django.db import connection
from django.test import AsyncClient, Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django.utils.html import escape

from django_claude_batches.admin import BatchResultAdmin, MessageBatchAdmin
from django_claude_batches.admin.base.filters import BATCH, RUN
from django_claude_batches.admin.results.export_form import NARROWING
from django_claude_batches.admin.results.export_view import export_links
from django_claude_batches.admin.results.filters import ResultOutcomeFilter
from django_claude_batches.export.cells import CELLS, COLUMNS, DEFAULT_COLUMNS
from django_claude_batches.export.selection import RESULT_FILTERS
from django_claude_batches.models import BatchRequest, BatchResult, MessageBatch, State, UsageRollup
from tests.admin.admin_pages import ANSWER, BATCHES, HOSTILE, PROMPT, REQUESTS, RESULTS, in_state, page, url
from tests.admin.conftest import Staff
from tests.harness.factories import draft
from tests.harness.selections import slow_but

pytestmark = pytest.mark.django_db

REQUEST_COLUMNS = ("target_type", "target_id", "params")
# Without the columns of an uploaded file, which only a batch made from a table has.
OFFERED = [name for name in COLUMNS if name != CELLS]


def address(batch: MessageBatch) -> str:
    return reverse("admin:django_claude_batches_batchresult_export", args=[batch.pk])


def download(client: Client, batch: MessageBatch, **fields: Any) -> Any:
    response = client.post(address(batch), {"format": "jsonl", **fields})
    assert (response.status_code, response.streaming) == (200, True)
    return response


def body(response: Any) -> bytes:
    return b"".join(response.streaming_content)


def test_jsonl_comes_down_with_its_name(root: Client, ingested: MessageBatch) -> None:
    response = download(root, ingested)
    assert response["Content-Type"] == "application/x-jsonl"
    assert response["Content-Disposition"] == f'attachment; filename="batch-{ingested.pk}.jsonl"'
    assert "no-store" in response["Cache-Control"]
    succeeded, errored = map(json.loads, body(response).splitlines())
    assert succeeded["result"]["message"]["content"] == [{"type": "text", "text": ANSWER}]
    assert errored["result"]["error"]["error"]["message"] == f"no {HOSTILE}"


def test_a_csv_comes_down_with_the_columns_that_were_chosen(root: Client, ingested: MessageBatch) -> None:
    response = download(root, ingested, format="csv", outcome="succeeded", columns=["text", "custom_id", "params"])
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert response["Content-Disposition"] == f'attachment; filename="batch-{ingested.pk}-succeeded.csv"'
    data = body(response)
    assert data.startswith(b"\xef\xbb\xbf")
    [row] = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""))
    assert (row["custom_id"], row["text"], PROMPT in row["params"]) == ("r-0", ANSWER, True)


@pytest.mark.parametrize("outcome", RESULT_FILTERS)
def test_an_outcome_comes_down_alone(root: Client, ingested: MessageBatch, outcome: str) -> None:
    expected = [row.custom_id for row in getattr(ingested.results, outcome)()]
    lines = body(download(root, ingested, outcome=outcome)).splitlines()
    assert [json.loads(line)["custom_id"] for line in lines] == expected


@pytest.fixture
def uploaded(ingested: MessageBatch) -> MessageBatch:
    """The complete batch, as if it had been made from a table."""
    BatchRequest.objects.filter(batch=ingested).update(cells_text='["=1","b"]')
    MessageBatch.objects.filter(pk=ingested.pk).update(cells_header=["note", "text"])
    ingested.refresh_from_db()
    return ingested


def test_csv_comes_first_for_a_batch_made_of_a_table(root: Client, uploaded: MessageBatch) -> None:
    shown = page(root, address(uploaded))
    assert shown.index('value="csv"') < shown.index('value="jsonl"')
    assert "the columns of the file: note, text" in shown
    fields = Chosen(shown).fields
    assert (fields["format"], fields["formulas"]) == (["csv"], ["escaped"])
    header, *rows = csv.reader(io.StringIO(body(root.post(address(uploaded), fields)).decode("utf-8-sig"), newline=""))
    assert header[:4] == ["custom_id", "note", "text", "claude_text"]
    assert [row[:3] for row in rows] == [[f"r-{number}", "'=1", "b"] for number in range(3)]
    assert [row[header.index("result_type")] for row in rows] == ["succeeded", "errored", "missing"]


def test_formulas_stay_as_they_are_where_that_is_chosen(root: Client, uploaded: MessageBatch) -> None:
    fields = {"format": "csv", "columns": ["cells"], "formulas": "as_they_are", "outcome": "succeeded"}
    assert body(download(root, uploaded, **fields)).decode("utf-8-sig") == "note,text\r\n=1,b\r\n"
    assert uploaded.events.get(what="exported").text == "CSV, succeeded, cells, formulas as they are"


def test_cells_are_for_those_who_may_read_prompts(staff: Staff, uploaded: MessageBatch) -> None:
    client = staff("view_batchresult")
    assert "note, text" not in page(client, address(uploaded))
    fields = {"format": "csv", "columns": ["cells", "text"]}
    assert client.post(address(uploaded), fields).status_code == 403
    answers = body(download(client, uploaded, format="csv", columns=["custom_id", "text"])).decode()
    assert answers.count("\r\n") == 3


def test_what_can_be_chosen_is_what_the_list_is_filtered_by() -> None:
    assert list(ResultOutcomeFilter.methods) == list(RESULT_FILTERS)
    names = {listed.parameter_name for listed in BatchResultAdmin.list_filter} - {BATCH, RUN}
    assert {*names, SEARCH_VAR} == set(NARROWING)


class Chosen(HTMLParser):
    """The fields that a browser posts for an unchanged form."""

    def __init__(self, shown: str) -> None:
        super().__init__()
        self.fields: dict[str, list[str]] = {}
        self.feed(shown)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        posted = found.get("type") == "text" or "checked" in found
        if tag == "input" and posted:
            self.fields.setdefault(str(found["name"]), []).append(found.get("value") or "")


@pytest.fixture
def varied(batch: MessageBatch) -> MessageBatch:
    """A batch with results of all kinds; another batch has the same."""
    kinds: dict[str, dict[str, str]] = {
        "a-1": {"result_type": "succeeded"},
        "a-2": {"result_type": "succeeded", "stop_reason": "max_tokens", "service_tier": "standard"},
        "a-3": {"result_type": "errored", "error_type": "api_error"},
        "b-1": {"result_type": "errored", "error_type": "api_error"},
        "b-2": {"result_type": "errored", "error_type": HOSTILE},
        "b-3": {"result_type": "errored", "error_type": ""},
        "b-4": {"result_type": "succeeded", "service_tier": "priority"},
        "c-1": {"result_type": "expired"},
    }
    other = in_state(draft(1), State.INGESTED)
    for row, (custom_id, columns) in itertools.product((batch, other), kinds.items()):
        BatchResult.objects.create(batch=row, custom_id=custom_id, message={}, **columns)
    groups = UsageRollup.objects.sum_up(batch.pk).error_groups
    return in_state(batch, State.INGESTED, errored_count=4, error_groups=groups)


@pytest.mark.database
@pytest.mark.parametrize(
    ("query", "expected"),
    slow_but(
        2,
        [
            ({}, ["a-1", "a-2", "a-3", "b-1", "b-2", "b-3", "b-4", "c-1"]),
            ({"outcome": "errored"}, ["a-3", "b-1", "b-2", "b-3"]),
            ({"outcome": "truncated"}, ["a-2"]),
            ({"outcome": "refused"}, []),
            ({"outcome": "nonsense"}, ["a-1", "a-2", "a-3", "b-1", "b-2", "b-3", "b-4", "c-1"]),
            ({"error_type": "api_error"}, ["a-3", "b-1"]),
            ({"error_type": HOSTILE}, ["b-2"]),
            ({"error_type": ""}, ["b-3"]),
            ({"error_type": "none"}, []),
            ({"tier": "of_another_tier"}, ["a-2", "b-4"]),
            ({"q": " b-"}, ["b-1", "b-2", "b-3", "b-4"]),
            ({"q": "b-1"}, ["b-1"]),
            ({"q": "%"}, []),
            ({"outcome": "succeeded", "tier": "of_another_tier", "q": "b"}, ["b-4"]),
            ({"outcome": "errored", "error_type": "api_error", "q": "a"}, ["a-3"]),
            ({"outcome": "succeeded", "error_type": "api_error"}, []),
        ],
    ),
)
def test_what_comes_down_is_what_the_list_shows(
    root: Client, varied: MessageBatch, query: dict[str, str], expected: list[str]
) -> None:
    response = root.get(url(RESULTS), {"batch": varied.pk, **query})
    assert sorted(row.custom_id for row in response.context["cl"].result_list) == expected
    [link] = [href for label, href in response.context["dcb_links"] if label == "Export results"]
    assert f'href="{escape(link)}"' in response.content.decode()
    shown = page(root, link)
    assert HOSTILE not in shown
    lines = body(root.post(link, Chosen(shown).fields)).splitlines()
    assert sorted(json.loads(line)["custom_id"] for line in lines) == expected


def test_the_way_back_leads_to_the_same_list(root: Client, varied: MessageBatch) -> None:
    response = root.get(address(varied), {"error_type": "api_error", "q": "a-"})
    back = root.get(response.context["back"])
    assert [row.custom_id for row in back.context["cl"].result_list] == ["a-3"]


def test_what_it_is_narrowed_to_is_on_the_timeline_and_in_the_name(root: Client, varied: MessageBatch) -> None:
    fields = {"outcome": "errored", "error_type": "=api_error", "q": "a-"}
    response = download(root, varied, **fields)
    assert response["Content-Disposition"] == f'attachment; filename="batch-{varied.pk}-errored-filtered.jsonl"'
    assert varied.events.get(what="exported").text == (
        "JSONL, errored, error type api_error, custom_id beginning with a-"
    )


def test_a_batch_without_errors_asks_for_no_kind_of_error(root: Client, batch: MessageBatch) -> None:
    in_state(batch, State.INGESTED, error_groups=[])
    shown = page(root, address(batch))
    assert "Kind of error" not in shown
    assert "Kind of error" in page(root, address(batch), error_type="api_error")
    assert "Kind of error" not in page(root, address(batch), error_type="x\x00")


def test_each_export_is_on_the_timeline_and_in_the_log_once(root: Client, ingested: MessageBatch) -> None:
    page(root, address(ingested), outcome="errored")
    assert not ingested.events.filter(what="exported").exists()
    response = download(root, ingested, format="csv", outcome="errored", columns=["custom_id", "text"])
    event = ingested.events.get(what="exported")
    assert (event.by_name, event.text) == ("ada", "CSV, errored, custom_id, text")
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.get_edited_object()) == (str(ingested.pk), ingested)
    assert "Exported: CSV, errored, custom_id, text" in entry.get_change_message()
    body(response)
    assert (ingested.events.filter(what="exported").count(), LogEntry.objects.count()) == (1, 1)
    assert "Exported: CSV" in page(root, url(BATCHES, "history", ingested.pk))


def test_the_page_offers_what_may_be_chosen(root: Client, ingested: MessageBatch) -> None:
    MessageBatch.objects.update(label=HOSTILE)
    shown = page(root, address(ingested), outcome="errored")
    assert "<script>alert" not in shown
    assert "1 request has no result here." in shown
    for name in (*OFFERED, *RESULT_FILTERS):
        assert f'value="{name}"' in shown
    assert shown.count('type="checkbox"') == len(OFFERED)
    assert shown.count("checked") == len(set(DEFAULT_COLUMNS) & set(OFFERED)) + 5
    assert '<label for="id_columns_0">' in shown


def test_the_batch_and_the_list_of_its_results_lead_there(root: Client, ingested: MessageBatch) -> None:
    assert f'href="{address(ingested)}"' in page(root, url(BATCHES, "change", ingested.pk))
    assert f'href="{address(ingested)}"' in page(root, url(RESULTS), batch=ingested.pk)
    assert f'href="{address(ingested)}?outcome=errored"' in page(
        root, url(RESULTS), batch=ingested.pk, outcome="errored"
    )
    assert address(ingested) not in page(root, url(RESULTS))
    assert address(ingested) not in page(root, url(REQUESTS), batch=ingested.pk)


def test_nothing_leads_there_while_there_are_no_results(root: Client, batch: MessageBatch) -> None:
    for state in (State.DRAFT, State.IN_PROGRESS):
        in_state(batch, state)
        assert address(batch) not in page(root, url(BATCHES, "change", batch.pk))


def test_anonymous_users_are_redirected_to_the_login(client: Client, ingested: MessageBatch) -> None:
    for response in (client.get(address(ingested)), client.post(address(ingested), {"format": "jsonl"})):
        assert (response.status_code, response.url.split("?")[0]) == (302, "/admin/login/")


def test_it_is_refused_to_those_who_may_not_read_answers(staff: Staff, ingested: MessageBatch) -> None:
    client = staff("view_messagebatch", "view_batchrequest", "change_messagebatch")
    assert address(ingested) not in page(client, url(BATCHES, "change", ingested.pk))
    assert client.get(address(ingested)).status_code == 403
    assert client.post(address(ingested), {"format": "jsonl"}).status_code == 403
    assert not ingested.events.filter(what="exported").exists()


def test_answers_are_enough_without_prompts(staff: Staff, ingested: MessageBatch) -> None:
    client = staff("view_batchresult")
    shown = page(client, address(ingested))
    for name in REQUEST_COLUMNS:
        assert f'value="{name}"' not in shown
    assert ANSWER.encode() in body(download(client, ingested))
    assert ANSWER.encode() in body(download(client, ingested, format="csv", columns=["text"]))


@pytest.mark.parametrize("column", REQUEST_COLUMNS)
def test_a_column_of_the_request_is_refused_to_those_who_may_not_read_prompts(
    staff: Staff, ingested: MessageBatch, column: str
) -> None:
    data = {"format": "csv", "columns": ["text", column]}
    assert staff("view_batchresult").post(address(ingested), data).status_code == 403
    assert not ingested.events.filter(what="exported").exists()
    both = staff("view_batchresult", "view_batchrequest", username="ida")
    assert download(both, ingested, **data).status_code == 200


@pytest.mark.parametrize(
    "fields",
    slow_but(
        2,
        [
            {"format": "xlsx"},
            {"format": "csv"},
            {"outcome": "delete"},
            {"columns": ["pk"]},
            {"format": ""},
            {"error_type": "=none"},
            {"error_type": "invalid_request_error"},
            {"tier": "x"},
            {"q": "x" * 65},
            {"q": "\x00"},
        ],
    ),
)
def test_what_is_not_offered_is_an_error_on_the_page(root: Client, ingested: MessageBatch, fields: Any) -> None:
    response = root.post(address(ingested), {"format": "jsonl", **fields})
    assert (response.status_code, response.streaming) == (200, False)
    assert "errorlist" in response.content.decode()
    assert not ingested.events.filter(what="exported").exists()


def test_a_batch_that_there_is_not(root: Client) -> None:
    assert root.get(reverse("admin:django_claude_batches_batchresult_export", args=[4711])).status_code == 404


def test_a_purged_batch_says_so(root: Client, ingested: MessageBatch) -> None:
    ingested.results.update(message=None)
    MessageBatch.objects.update(result_bodies_purged_at=timezone.now(), result_purge_began_at=timezone.now())
    assert "JSONL leaves those results out" in page(root, address(ingested))
    assert body(download(root, ingested)) == b""
    assert b"end_turn" in body(download(root, ingested, format="csv", columns=OFFERED))


def test_nothing_is_counted_or_skipped(root: Client, ingested: MessageBatch) -> None:
    with CaptureQueriesContext(connection) as queries:
        body(download(root, ingested, format="csv", columns=OFFERED))
    asked = [query["sql"] for query in queries if "batchresult" in query["sql"]]
    assert len(asked) < 10
    assert not [sql for sql in asked if "COUNT(" in sql or "OFFSET" in sql]


def test_an_asgi_server_gets_it_piece_by_piece_too(root: Client, ingested: MessageBatch) -> None:
    client = AsyncClient()
    client.cookies = root.cookies

    async def fetch() -> bytes:
        response: Any = await client.post(address(ingested), {"format": "jsonl"})
        assert (response.status_code, response.is_async) == (200, True)
        return b"".join([chunk async for chunk in response])

    assert ANSWER.encode() in async_to_sync(fetch)()


def test_a_composed_admin_without_the_page_has_no_link(
    root: Client, rf: RequestFactory, ingested: MessageBatch
) -> None:
    request = rf.get("/")
    request.user = User.objects.get(username="ada")
    site = admin.AdminSite(name="composed")
    site.register(MessageBatch, MessageBatchAdmin)
    site.register(BatchResult, admin.ModelAdmin)
    assert export_links(site.get_model_admin(MessageBatch), request, ingested) == []
