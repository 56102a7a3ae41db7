"""Lists over large tables: few queries, capped counts, and no prompt or long answer read."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin import AdminSite
from django.contrib.auth.models import Permission, User
from django.core.exceptions import PermissionDenied
from django.test import Client, RequestFactory
from django.utils import timezone

from django_claude_batches.admin import BatchResultAdmin, MessageBatchAdminMixin
from django_claude_batches.admin.base.changelist import CAP, CappedPaginator
from django_claude_batches.admin.results.excerpts import MAX_STORED_BYTES
from django_claude_batches.error_text import format_with_traceback
from django_claude_batches.models import AccountState, BatchRequest, BatchResult, MessageBatch, State
from tests.admin.admin_pages import ACCOUNTS, BATCHES, REQUESTS, RESULTS, RUNS, act, in_state, ingest, page, url
from tests.admin.conftest import Staff
from tests.harness.factories import draft
from tests.harness.selections import slow_but

pytestmark = pytest.mark.django_db


@pytest.mark.database
@pytest.mark.parametrize("model", slow_but(2, [BATCHES, RESULTS, REQUESTS, ACCOUNTS]))
def test_a_list_makes_at_most_ten_queries_however_many_rows(
    staff: Staff, model: str, django_assert_max_num_queries: Any
) -> None:
    client = staff(
        "view_messagebatch", "submit_messagebatch", *(f"view_{name}" for name in (RESULTS, REQUESTS, ACCOUNTS))
    )
    for number in range(9):
        AccountState.objects.create(alias=f"account-{number}", paused_at=timezone.now())
    for state in State:
        in_state(draft(2, label=state, kind=f"kind-{state}"), state)
    for batch in MessageBatch.objects.filter(state=State.INGESTED):
        ingest(batch)
    with django_assert_max_num_queries(10):
        page(client, url(model))
    with django_assert_max_num_queries(10):
        page(client, url(model), q="r-1")


@pytest.mark.database
@pytest.mark.parametrize(
    ("model", "parameters"),
    slow_but(
        2,
        [
            (BATCHES, "state__exact attention nearing kind account age run label__icontains"),
            (RUNS, "state__exact attention job label__icontains"),
            (RESULTS, "batch outcome error_type tier custom_id__exact"),
            (REQUESTS, "batch outcome custom_id__exact"),
            (ACCOUNTS, "alias__exact"),
        ],
    ),
)
def test_a_nul_is_an_invalid_lookup(root: Client, ingested: MessageBatch, model: str, parameters: str) -> None:
    for name in parameters.split():
        within = {"batch": ingested.pk} if model in {RESULTS, REQUESTS} else {}
        response = root.get(url(model), {**within, name: "a\0b"})
        assert (response.status_code, response.headers.get("Location")) == (302, f"{url(model)}?e=1"), name
    assert "Null characters are not allowed." in page(root, url(model), q="a\0b")


@pytest.mark.database
def test_a_nul_in_what_is_exported_is_refused(root: Client, ingested: MessageBatch) -> None:
    address = url(RESULTS, "export", ingested.pk)
    page(root, address, error_type="a\0b", q="a\0b", outcome="a\0b", tier="a\0b")
    response = root.post(address, {"format": "jsonl", "q": "a\0b"})
    assert "Null characters are not allowed." in response.content.decode()


@pytest.mark.parametrize("model", [RESULTS, REQUESTS])
def test_the_list_of_a_batch_makes_at_most_ten_queries(
    staff: Staff, ingested: MessageBatch, model: str, django_assert_max_num_queries: Any
) -> None:
    client = staff("view_messagebatch", "view_batchresult", "view_batchrequest")
    with django_assert_max_num_queries(10):
        page(client, url(model), batch=ingested.pk, outcome="succeeded", q="r-")


@pytest.mark.parametrize(("model", "column"), [(BatchResult, "message"), (BatchRequest, "params_text")])
def test_what_others_do_with_a_lists_rows_has_all_columns(
    admin_user: User, ingested: MessageBatch, model: Any, column: str, django_assert_num_queries: Any
) -> None:
    """Otherwise a project's action, or django-import-export's export, would execute one query for each row."""
    request = RequestFactory().get("/")
    request.user = admin_user
    changelist = admin.site.get_model_admin(model).get_changelist_instance(request)
    with django_assert_num_queries(1):
        assert [getattr(row, column) for row in changelist.get_queryset(request)]


@pytest.mark.parametrize("model", [BatchResult, BatchRequest, MessageBatch])
def test_a_list_is_not_made_for_those_who_may_not_view_it(staff: Staff, model: Any) -> None:
    """django-import-export exports what the list shows, and checks no permission unless its setting requires one."""
    staff("submit_messagebatch")
    request = RequestFactory().get("/")
    request.user = User.objects.get(username="grace")
    with pytest.raises(PermissionDenied):
        admin.site.get_model_admin(model).get_changelist_instance(request)


@pytest.mark.parametrize(("model", "columns"), [(RESULTS, ("output", "raw")), (REQUESTS, ("params",))])
def test_no_prompt_and_no_large_column_is_read_for_a_list(
    root: Client, ingested: MessageBatch, model: str, columns: tuple[str, ...], django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(10) as captured:
        page(root, url(model), batch=ingested.pk)
    table = f'"django_claude_batches_{model}"'
    for column in columns:
        assert not any(f'{table}."{column}"' in query["sql"] for query in captured)


def test_a_list_reads_answers_in_one_query_and_only_short_ones(
    root: Client, ingested: MessageBatch, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(10) as captured:
        page(root, url(RESULTS), batch=ingested.pk)
    column = f'"django_claude_batches_{RESULTS}"."message"'
    [sql] = [query["sql"] for query in captured if column in query["sql"]]
    read = re.sub(rf"CASE WHEN .* <= {MAX_STORED_BYTES} THEN {column} ELSE NULL END|LENGTH\({column}\)", "", sql)
    assert column not in read


def test_the_page_of_a_large_batch_loads_a_few_of_its_rows(
    root: Client, ticking: AccountState, batch: MessageBatch, django_assert_max_num_queries: Any
) -> None:
    ingest(batch)
    with django_assert_max_num_queries(10) as captured:
        page(root, url(BATCHES, "change", batch.pk))
    read = [query["sql"] for query in captured if f'FROM "django_claude_batches_{RESULTS}"' in query["sql"]]
    (sql,) = read
    assert '"position" < 200' in sql
    assert "<= 5" in sql, "of each group"
    assert not any(f'FROM "django_claude_batches_{REQUESTS}"' in query["sql"] for query in captured)


def test_a_batch_whose_results_are_fetched_is_not_counted_in_the_list(
    root: Client, batch: MessageBatch, django_assert_max_num_queries: Any
) -> None:
    in_state(batch, State.ENDED)
    with django_assert_max_num_queries(10) as captured:
        page(root, url(BATCHES))
    assert not any("batchresult" in query["sql"] for query in captured)


@pytest.mark.slow
def test_rows_are_counted_up_to_the_cap_only(django_assert_num_queries: Any) -> None:
    batch = draft(1)
    BatchResult.objects.bulk_create(
        [BatchResult(batch=batch, custom_id=f"r-{number}", result_type="succeeded") for number in range(CAP + 50)],
        batch_size=500,
    )
    with django_assert_num_queries(1) as captured:
        assert CappedPaginator(batch.results.order_by("pk"), 100).count == CAP + 1
    assert f"LIMIT {CAP + 1}" in captured[0]["sql"]
    client = Client()
    client.force_login(User.objects.create_superuser("ada"))
    assert "There are more rows than are counted" in page(client, url(RESULTS))


def test_within_a_batch_an_index_gives_the_order(ingested: MessageBatch) -> None:
    request = RequestFactory().get("/", {"batch": ingested.pk})
    results = BatchResultAdmin(BatchResult, AdminSite())
    assert results.get_ordering(request) == ("batch_id", "custom_id")
    assert results.get_ordering(RequestFactory().get("/")) == ("-pk",)


def test_every_table_of_the_admin_is_read_where_it_is_written(root: Client, settings: Any) -> None:
    """With a replica for reads, what is shown and decided still comes from the primary."""
    settings.DATABASE_ROUTERS = ["tests.admin.base.test_changelist.Replica"]
    request = RequestFactory().get("/")
    for model in (MessageBatch, BatchResult, BatchRequest):
        assert admin.site.get_model_admin(model).get_queryset(request).db == "default"


class Replica:
    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "other"

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"


def test_a_project_composes_its_own_page(batch: MessageBatch) -> None:
    class Mine(MessageBatchAdminMixin, admin.ModelAdmin):  # type: ignore[type-arg]
        list_display = ("name", "shout")

        def shout(self, batch: MessageBatch) -> str:
            return "!"

    site = AdminSite(name="mine")
    mine = Mine(MessageBatch, site)
    assert mine.check() == []
    assert not mine.viewer(RequestFactory().get("/")).may_view(BatchResult)


def test_the_pages_work_inside_a_transaction(root: Client, batch: MessageBatch, settings: Any) -> None:
    """With `ATOMIC_REQUESTS`: no view sends HTTP to Anthropic or needs a commit."""
    from django.db import connections

    connections["default"].settings_dict["ATOMIC_REQUESTS"] = True
    try:
        page(root, url(BATCHES, "change", batch.pk))
        assert act(root, "submit", batch).status_code == 302
    finally:
        connections["default"].settings_dict["ATOMIC_REQUESTS"] = False
    batch.refresh_from_db()
    assert batch.state == State.QUEUED


def test_no_page_shows_the_key(root: Client, ingested: MessageBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-canary")
    addresses = [url(model) for model in (BATCHES, RESULTS, REQUESTS, ACCOUNTS)]
    addresses += [url(BATCHES, name, ingested.pk) for name in ("change", "history", "delete")]
    for address in addresses:
        assert "canary" not in page(root, address)


@pytest.mark.parametrize("may", [False, True])
def test_what_a_project_exports_or_acts_on_has_as_much_as_the_user_may_see(may: bool) -> None:
    batch = draft(1)
    words = format_with_traceback(ValueError("secret"))
    MessageBatch.objects.update(last_error=words)
    request = RequestFactory().get("/")
    user = User.objects.create_user("operator", is_staff=True)
    rights = ("view_messagebatch", "view_batchrequest", "view_batchresult") if may else ("view_messagebatch",)
    user.user_permissions.set(Permission.objects.filter(codename__in=rights))
    request.user = User.objects.get(pk=user.pk)
    rows = admin.site.get_model_admin(MessageBatch).get_changelist_instance(request).get_queryset(request)
    found = [*rows, *rows.filter(pk=batch.pk).iterator(chunk_size=1), rows.get(), *rows.order_by("-pk")[:1]]
    assert {row.last_error for row in found} == {words if may else "ValueError"}
    assert len(found) == 4


@pytest.mark.parametrize("count", [1, 3])
def test_a_page_may_edit_in_its_list(count: int) -> None:
    class Page(MessageBatchAdminMixin, admin.ModelAdmin):  # type: ignore[type-arg]
        list_display = ("name", "label")
        list_editable = ("label",)
        list_per_page = 2

        def has_change_permission(self, request: Any, obj: Any = None) -> bool:
            return True

    for number in range(count):
        draft(1, label=f"Label {number}")
    MessageBatch.objects.update(last_error=format_with_traceback(ValueError("secret")))
    request = RequestFactory().get("/")
    request.user = User.objects.create_user("editor", is_staff=True)
    response = Page(MessageBatch, AdminSite()).changelist_view(request)
    changes: Any = response.context_data["cl"]  # type: ignore[attr-defined]
    assert len(changes.formset.forms) == min(count, 2)
    assert all("secret" not in form.instance.last_error for form in changes.formset.forms)
    assert 'value="Label ' in response.rendered_content  # type: ignore[attr-defined]
