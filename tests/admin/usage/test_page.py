"""The usage page: sums, links, CSV, and permissions."""

from __future__ import annotations

import csv
import io
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from django.contrib import admin
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.admin import UsageRollupAdminMixin
from django_claude_batches.models import BatchResult, MessageBatch, State, UsageRollup
from django_claude_batches.testing import ClaudeEmulator
from tests.admin.admin_pages import BATCHES, HOSTILE, in_state, page, url
from tests.admin.conftest import Staff
from tests.harness.factories import draft, running
from tests.harness.selections import slow_but

pytestmark = pytest.mark.django_db

USAGE = "usagerollup"
EXPORT = reverse("admin:django_claude_batches_usagerollup_export")
NOVEMBER = {"since": "2020-11-01", "until": "2020-11-30"}


def spent(day: int, **columns: Any) -> UsageRollup:
    given = {"results": 10, "input_tokens": 1000, "output_tokens": 20, "cost_usd": Decimal("0.5"), "model": "m"}
    return UsageRollup.objects.create(ended_at=datetime(2020, 11, day, 12, tzinfo=UTC), **{**given, **columns})


@pytest.fixture
def november() -> None:
    spent(1, kind="tags", starter="ada")
    spent(2, kind="tags", account="second", cache_read_tokens=3000, model="other", cost_usd=2)
    spent(30, unpriced_results=3, cost_usd=0)


def shown(client: Client, **query: Any) -> Any:
    response = client.get(url(USAGE), query)
    assert response.status_code == 200, response.headers
    return response


def lines(client: Client, **query: Any) -> dict[str, list[str]]:
    return {line.label: line.cells for line in shown(client, **query).context["table"]["lines"]}


def dollars(exact: str, shown: str = "") -> str:
    """Return the cell of a cost; the exact amount has no zeros at its end."""
    return f'<span title="{float(exact):g} USD">{shown or f"${exact}"}</span>'


def test_each_row_of_the_table_is_a_day(root: Client, november: None) -> None:
    found = lines(root, **NOVEMBER)
    assert list(found) == ["Nov. 1, 2020", "Nov. 2, 2020", "Nov. 30, 2020"]
    assert found["Nov. 2, 2020"] == [dollars("2.00"), "10", "1,000", "20", "0", "3,000", "75%", "-"]
    assert found["Nov. 30, 2020"][0] == "not known"
    assert found["Nov. 30, 2020"][-1] == "3"
    total = shown(root, **NOVEMBER).context["table"]["total"]
    assert total == [dollars("2.50", "at least $2.50"), "30", "3,000", "60", "0", "3,000", "50%", "3"]


def test_longer_times_are_divided_into_weeks_and_months(root: Client, november: None) -> None:
    assert next(iter(lines(root, since="2020-10-01", until="2021-03-01"))) == "Week of Oct. 26, 2020"
    assert list(lines(root, since="2018-01-01")) == ["November 2020"]
    assert list(lines(root, since="")) == ["November 2020"]
    assert next(iter(lines(root, since="2018-01-01", per="day"))) == "Nov. 1, 2020"


def test_groups_come_with_the_largest_cost_first_and_lead_to_themselves(root: Client, november: None) -> None:
    assert list(lines(root, **NOVEMBER, by="model")) == ["other", "m"]
    assert list(lines(root, **NOVEMBER, by="account")) == ["second", "default"]
    assert list(lines(root, **NOVEMBER, by="job")) == ["tags", "(none)"]
    table = shown(root, **NOVEMBER, by="job").context["table"]
    for line in table["lines"]:
        followed = root.get(url(USAGE) + line.url).context["table"]
        assert followed["total"] == line.cells
    tags = lines(root, **NOVEMBER, job="tags", by="starter")
    assert list(tags) == ["(none)", "ada"]


def test_a_period_leads_to_its_days(root: Client, november: None) -> None:
    (month,) = shown(root, since="2018-01-01", by="").context["table"]["lines"]
    followed = root.get(url(USAGE) + month.url).context
    assert [line.label for line in followed["table"]["lines"]] == ["Nov. 1, 2020", "Nov. 2, 2020", "Nov. 30, 2020"]
    assert followed["table"]["total"] == month.cells


def test_the_page_opens_with_this_month_beside_the_last(root: Client, claude: ClaudeEmulator) -> None:
    batch = running(3, kind="tags")
    claude.finish()
    services.advance(batch)
    last = timezone.localtime().replace(day=1, hour=0, minute=0, second=0, microsecond=0) - timedelta(seconds=1)
    UsageRollup.objects.create(ended_at=last, results=7, cost_usd=3)
    context = shown(root).context
    months = {str(label): both for label, *both in context["months"]}
    assert months["Requests"] == ["3", "7"]
    assert months["Cost"][1] == dollars("3.00")
    assert context["table"]["total"][1] == "10"


def test_the_chart_has_a_column_for_each_day_with_its_text_and_link(root: Client, november: None) -> None:
    content = shown(root, **NOVEMBER, by="model").context["chart"]
    svg = ET.fromstring(content["svg"])
    columns = svg.findall("a")
    assert len(columns) == 30
    second = columns[1]
    assert second.get("aria-label") == "Nov. 2, 2020: $2.00. other: $2.00"
    assert [rect.get("class") for rect in second.findall("rect")] == ["dcb-slot", "dcb-series-0"]
    assert columns[29].get("aria-label") == "Nov. 30, 2020: not known, 3 results of unknown cost"
    assert columns[29].find("circle") is not None
    assert columns[2].get("aria-label") == "Nov. 3, 2020: $0.00"
    assert [label for _class, label in content["legend"]] == ["other", "m", "Not all costs are known"]
    day = root.get(url(USAGE) + str(second.get("href"))).context["table"]
    assert day["total"][0] == dollars("2.00")


def test_the_heights_of_the_columns_are_their_costs(root: Client) -> None:
    for day, cost in ((1, "5"), (2, "2.5"), (3, "0.05")):
        spent(day, cost_usd=Decimal(cost))
    svg = ET.fromstring(shown(root, **NOVEMBER).context["chart"]["svg"])
    heights = [float(str(rect.get("height"))) for rect in svg.findall("a/rect[@class='dcb-series-0']")]
    assert heights == [206, 103, 2.06]
    assert [text.text for text in svg.findall("text")[:3]] == ["0", "2.5", "5"]


def test_the_sixth_group_and_those_after_it_share_a_series(root: Client) -> None:
    for number in range(8):
        spent(1, model=f"model-{number}", cost_usd=10 - number)
    legend = shown(root, **NOVEMBER, by="model").context["chart"]["legend"]
    assert legend[-1] == ("dcb-series-5", "Others")
    assert len(legend) == 6


def test_more_groups_than_the_table_holds_are_summed_up(root: Client) -> None:
    for number in range(103):
        spent(1, model=f"model-{number:03}", cost_usd=1 + number)
    found = lines(root, **NOVEMBER, by="model")
    assert len(found) == 101
    assert found["3 others: all are in the CSV"][:2] == [dollars("6.00"), "30"]
    assert len(rows_of(root, **NOVEMBER, by="model")) == 104


def rows_of(client: Client, **query: Any) -> list[list[str]]:
    response = client.get(EXPORT, query)
    assert (response.status_code, response["Content-Type"]) == (200, "text/csv; charset=utf-8")
    assert response["Content-Disposition"] == f'attachment; filename="usage-{timezone.localdate()}.csv"'
    return list(csv.reader(io.StringIO(response.content.decode("utf-8-sig"), newline="")))


def test_the_csv_has_the_numbers_of_the_page(root: Client, november: None) -> None:
    heading, *rows = rows_of(root, **NOVEMBER, by="job")
    assert heading[:5] == ["day", "job", "cost_usd", "requests", "unpriced_results"]
    assert [row[:5] for row in rows] == [
        ["2020-11-01", "tags", "0.500000000", "10", "0"],
        ["2020-11-02", "tags", "2.000000000", "10", "0"],
        ["2020-11-30", "", "", "10", "3"],
    ]
    linked = shown(root, **NOVEMBER, by="job").context["export_url"]
    assert root.get(linked).content == root.get(EXPORT, {**NOVEMBER, "by": "job"}).content
    response = root.get(EXPORT, {"since": "nonsense"})
    assert (response.status_code, response["Location"]) == (302, f"{url(USAGE)}?since=nonsense")


FORMULAS = ["=1+1", "@SUM(A1)", "+x", "-x", "\tx", "a;=1", "'", '"', "a,b", "\r\nTotal"]


@pytest.mark.database
@pytest.mark.parametrize("name", slow_but(2, ["model", "kind", "account", "starter"]))
def test_hostile_names_are_text_everywhere(root: Client, name: str) -> None:
    by = "job" if name == "kind" else name
    hostile = [HOSTILE, "</title></svg><b>", "{{ form }}", "%s", "\u202eabc", *FORMULAS]
    for text in hostile:
        spent(1, **{name: text})
    content = page(root, url(USAGE), **NOVEMBER, by=by)
    assert HOSTILE not in content
    assert "</svg><b>" not in content
    for text in hostile:
        assert sum(line.label == text for line in shown(root, **NOVEMBER, by=by).context["table"]["lines"]) == 1
        (found,) = lines(root, **NOVEMBER, **{by: text}, by=by)
        assert found == text
    written = {row[1] for row in rows_of(root, **NOVEMBER, by=by)[1:]}
    assert "'=1+1" in written
    assert not {cell[0] for cell in written} & set("=+-@\t\r")


@pytest.mark.database
@pytest.mark.parametrize(
    "query",
    [
        {"since": "2020-02-30"},
        {"since": "0001-01-01"},
        {"until": "9999-12-31"},
        {"since": "2020-02-02", "until": "2020-02-01"},
        {"per": "hour"},
        {"by": "batch"},
        {"model": "x\0"},
        {"starter": "x" * 151},
        {"since": "", "per": "day"},
    ],
)
def test_an_invalid_query_is_an_error_of_the_form(root: Client, query: dict[str, str]) -> None:
    spent(1)
    UsageRollup.objects.create(ended_at=datetime(2018, 1, 1, tzinfo=UTC), results=1)
    response = shown(root, **query)
    assert response.context["form"].errors
    assert "table" not in response.context
    assert "errorlist" in response.content.decode()


@pytest.mark.database
@pytest.mark.parametrize(
    "query",
    [
        *({"model": "no-such"}, {"until": "9998-12-31"}, {"since": "1001-01-01"}, {"since": "1001-01-01", "by": "job"}),
        *({"e": "1", "q": "x", "p": "3", "o": "1", "account__regex": "("}, {"since": ["2020-11-01", "2020-11-02"]}),
        *({"job": "(none)"}, {"job": "\U0001f600"}, {"model": " "}),
    ],
)
def test_unusual_queries_are_valid(root: Client, query: dict[str, Any]) -> None:
    spent(1)
    response = shown(root, **query)
    assert not response.context["form"].errors
    assert "table" in response.context


def test_nothing_spent_says_so_and_has_no_chart(root: Client) -> None:
    content = page(root, url(USAGE))
    assert "Nothing was spent in this time" in content
    assert "<svg class" not in content


def test_what_is_selected_stays_in_the_form(root: Client, november: None) -> None:
    response = shown(root, **NOVEMBER, job="tags", model="gone", account="(none)")
    form = response.context["form"]
    assert (form["job"].value(), form["model"].value(), form["since"].value()) == ("tags", "gone", "2020-11-01")
    content = response.content.decode()
    for option in ('value="tags" selected', 'value="gone" selected', 'value="(none)" selected', 'value="2020-11-01"'):
        assert option in content


class TestPermissions:
    @pytest.mark.parametrize("address", [url(USAGE), EXPORT])
    def test_usage_is_shown_only_to_users_who_may_view_it(self, staff: Staff, client: Client, address: str) -> None:
        assert client.get(address).status_code == 302
        assert staff("view_messagebatch", "view_batchresult", username="ida").get(address).status_code == 403
        assert staff("view_usagerollup").get(address).status_code == 200

    def test_it_is_in_the_menu_of_those_who_may(self, staff: Staff) -> None:
        assert f'href="{url(USAGE)}"' in page(staff("view_usagerollup"), "/admin/")
        assert f'href="{url(USAGE)}"' not in page(staff("view_messagebatch", username="ida"), "/admin/")

    @pytest.mark.parametrize("name", ["1/change/", "1/delete/", "1/history/", "add/"])
    def test_its_rows_have_no_pages(self, root: Client, name: str) -> None:
        spent(1)
        assert root.get(f"{url(USAGE)}{name}").status_code == 404
        assert root.post(url(USAGE), {"action": "delete_selected", "_selected_action": ["1"]}).status_code == 200
        assert UsageRollup.objects.count() == 1

    def test_a_narrowed_queryset_narrows_everything(self, root: Client, november: None) -> None:
        class OfOneAccount(UsageRollupAdminMixin, admin.ModelAdmin):
            def get_queryset(self, request: Any) -> Any:
                return super().get_queryset(request).filter(account="second")

        own = OfOneAccount(UsageRollup, admin.site)
        request = RequestFactory().get("/", {**NOVEMBER, "by": "account"})
        request.user = root.get("/admin/").wsgi_request.user
        context = own.changelist_view(request).context_data  # type: ignore[attr-defined]
        assert [line.label for line in context["table"]["lines"]] == ["second"]
        assert "default" not in dict(context["form"].fields["account"].widget.choices)
        assert b"default" not in own.export_view(request).content


class TestBelowTheList:
    def test_it_sums_what_is_filtered(self, root: Client) -> None:
        assert "Cost of all batches" not in page(root, url(BATCHES))
        for kind, cost, unpriced in (("tags", "1.25", 0), ("tags", "2", 0), ("other", "4", 2)):
            batch = in_state(draft(1, kind=kind), State.INGESTED)
            spent(1, batch=batch, cost_usd=Decimal(cost), unpriced_results=unpriced)
        spent(1, cost_usd=100)  # of a deleted batch
        text = 'Cost of all batches in this list: <span title="3.25 USD">$3.25</span></p>'
        assert text in page(root, url(BATCHES), kind="tags")
        amount = '<span title="7.25 USD">$7.25</span>'
        text = f"Cost of all batches in this list: at least {amount} (2 results of unknown cost)"
        assert text in page(root, url(BATCHES))
        assert "Cost of all batches" not in page(root, url(BATCHES), kind="tags", q="nothing")

    def test_it_counts_batches_of_other_pages_too_in_one_query(self, root: Client) -> None:
        batches = [in_state(draft(1), State.INGESTED) for _ in range(60)]
        with CaptureQueriesContext(connection) as before:
            page(root, url(BATCHES))
        for batch in batches:
            spent(1, batch=batch, cost_usd=1)
        with CaptureQueriesContext(connection) as after:
            assert "$60.00</span></p>" in page(root, url(BATCHES))
        assert len(after) == len(before)
        assert sum(UsageRollup._meta.db_table in entry["sql"] for entry in after) == 1


MANY = 10_000


@pytest.fixture
def many(root: Client) -> None:
    """10,000 batches of two months, each with the usage of two models."""
    now = timezone.now()
    MessageBatch.objects.bulk_create(
        (
            MessageBatch(
                state=State.INGESTED,
                anthropic_id=f"msgbatch_{number}",
                processing_status="ended",
                ingested_at=now,
                announced_at=now,
                request_count=100,
                succeeded_count=100,
                cost_usd=1,
            )
            for number in range(MANY)
        ),
        batch_size=500,
    )
    first = now - timedelta(days=59)
    UsageRollup.objects.bulk_create(
        (
            UsageRollup(
                batch_id=pk,
                ended_at=first + timedelta(minutes=8 * number),
                kind=f"job-{number % 30}",
                account=f"account-{number % 2}",
                starter=f"user-{number % 9}",
                model=model,
                results=50,
                cost_usd=Decimal("0.5"),
            )
            for number, pk in enumerate(MessageBatch.objects.order_by("pk").values_list("pk", flat=True))
            for model in ("claude-haiku-4-5", "claude-opus-5")
        ),
        batch_size=500,
    )


def seconds(client: Client, address: str, **query: Any) -> float:
    began = time.perf_counter()
    page(client, address, **query)
    return time.perf_counter() - began


@pytest.mark.slow
@pytest.mark.database
def test_ten_thousand_batches_take_six_queries_and_less_than_their_list(root: Client, many: None) -> None:
    if connection.vendor == "postgresql":  # on MariaDB, ANALYZE TABLE would commit the transaction of the test
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
    since = (timezone.localdate() - timedelta(days=60)).isoformat()
    for query in ({}, {"by": "job"}, {"job": "job-1", "by": "model"}, {"per": "month"}):
        with CaptureQueriesContext(connection) as captured:
            page(root, url(USAGE), since=since, **query)
        assert len(captured) <= 6, [entry["sql"] for entry in captured]
        for table in (BatchResult._meta.db_table, MessageBatch._meta.db_table):
            assert not [entry["sql"] for entry in captured if table in entry["sql"]]
    pairs = [(seconds(root, url(USAGE)), seconds(root, url(BATCHES))) for _ in range(7)]
    usage, batches = (min(each) for each in zip(*pairs, strict=True))
    print(f"usage {1000 * usage:.0f} ms, batches {1000 * batches:.0f} ms")
    assert usage < batches
