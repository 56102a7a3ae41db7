"""The list of batches: the content of its columns, and which columns are hidden if empty."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from django_claude_batches.error_text import format_with_traceback
from django_claude_batches.models import AccountState, MessageBatch, State
from django_claude_batches.testing import ClaudeEmulator
from django_claude_batches.testing.emulator.replies import Reply, scripted
from tests.admin.admin_pages import BATCHES, REQUESTS, RESULTS, in_state, page, url
from tests.admin.conftest import Staff
from tests.harness.factories import draft
from tests.harness.shop import BAD, SCHEMA, job, over, reviews

pytestmark = pytest.mark.django_db

COUNTS = [
    {"result_type": "succeeded", "stop_reason": "end_turn", "count": 90},
    {"result_type": "succeeded", "stop_reason": "max_tokens", "count": 7},
    {"result_type": "succeeded", "stop_reason": "refusal", "count": 3},
    {"result_type": "canceled", "stop_reason": "", "count": 2},
]


def columns(shown: str) -> list[str]:
    return re.findall(r'<th scope="col" class="[^"]*column-(\w+)', shown)


def complete(**changes: Any) -> MessageBatch:
    return in_state(draft(2, label="Tags"), State.INGESTED, result_counts=COUNTS, **changes)


def test_useless_answers_are_no_success_and_each_number_leads_to_its_rows(root: Client) -> None:
    batch = complete()
    shown = page(root, url(BATCHES))
    assert 'aria-label="90 succeeded, 7 cut off, 3 refused, 2 canceled"' in shown
    filters = {"usable": "90 succeeded", "truncated": "7 cut off", "refused": "3 refused", "canceled": "2 canceled"}
    for method, text in filters.items():
        assert f'<a href="{url(RESULTS)}?batch={batch.pk}&amp;outcome={method}">{text}</a>' in shown


def test_each_link_lists_as_many_rows_as_it_says(root: Client, ingested: MessageBatch) -> None:
    shown = page(root, url(BATCHES))
    links = re.findall(r'<a href="([^"]*outcome=[^"]*)">([\d,]+) ', shown)
    assert len(links) == 3
    for address, count in links:
        assert root.get(address.replace("&amp;", "&")).context["cl"].result_count == int(count)


def test_the_numbers_are_no_links_for_those_who_may_not_view_the_rows(staff: Staff) -> None:
    complete()
    shown = page(staff("view_messagebatch"), url(BATCHES))
    assert "90 succeeded, 7 cut off, 3 refused, 2 canceled</span>" in shown


def test_columns_without_a_value_are_hidden(root: Client) -> None:
    draft(1, label="Tags")
    assert columns(page(root, url(BATCHES))) == ["state_label", "name", "progress", "age"]
    complete(cost_usd=Decimal("0.5"))
    assert columns(page(root, url(BATCHES)))[3:] == ["cost", "age"]
    complete(cost_usd=None, last_error="LookupError: no such tag")
    assert columns(page(root, url(BATCHES)))[3:] == ["cost", "age", "attention"]
    assert columns(page(root, url(BATCHES), state__exact="draft"))[3:] == ["age"]


@pytest.mark.parametrize(
    ("cost", "shown"),
    [
        ("0.2053", '<span title="0.2053 USD by the prices of Nov. 22, 2026">$0.21</span>'),
        ("0.000000001", '<span title="0.000000001 USD by the prices of Nov. 22, 2026">&lt;\xa0$0.01</span>'),
        ("0", '<span title="0 USD by the prices of Nov. 22, 2026">$0.00</span>'),
        ("1234567.895", '<span title="1,234,567.895 USD by the prices of Nov. 22, 2026">$1,234,567.90</span>'),
    ],
)
def test_a_cost_is_read_as_money_and_exact_on_hover(root: Client, cost: str, shown: str) -> None:
    complete(cost_usd=Decimal(cost), prices_as_of="2026-11-22")
    assert shown in page(root, url(BATCHES))


def test_the_kind_is_below_the_label_and_the_account_only_where_there_are_several(root: Client) -> None:
    draft(1, label="Tags", kind="nightly")
    draft(1, kind="weekly")
    shown = page(root, url(BATCHES))
    assert re.search(r'#\d+ &quot;Tags&quot;<span class="dcb-second">nightly</span>', shown)
    assert re.search(r'>#\d+<span class="dcb-second">weekly</span>', shown)
    draft(1, label="Moods", kind="nightly", account="research")
    shown = page(root, url(BATCHES))
    assert '<span class="dcb-second">nightly, default</span>' in shown
    assert '<span class="dcb-second">nightly, research</span>' in shown


def test_why_a_batch_needs_attention_is_in_the_list(root: Client, staff: Staff) -> None:
    complete(missing_count=3)
    complete(last_error="LookupError: <b>no such tag</b>")
    in_state(draft(1), State.QUEUED)
    AccountState.objects.create(alias="default", paused_at=timezone.now(), pause_reason="credit too low")
    shown = page(root, url(BATCHES))
    assert "Results that never came: 3." in shown
    assert "LookupError: &lt;b&gt;no such tag&lt;/b&gt;" in shown
    assert "Account default is paused, so nothing is sent: credit too low" in shown
    shown = page(staff("view_messagebatch"), url(BATCHES))
    assert "Account default is paused, so nothing is sent: the account&#x27;s page says why." in shown
    assert "credit too low" not in shown


def test_an_error_of_the_projects_code_is_cut_for_those_who_may_not_read_answers(staff: Staff) -> None:
    complete(last_error=format_with_traceback(ValueError("secret")))
    shown = page(staff("view_messagebatch"), url(BATCHES))
    assert "A receiver of this project raised: ValueError" in shown
    assert "secret" not in shown


def test_the_list_of_requests_says_the_same_outcomes(root: Client) -> None:
    reviews(5)
    answers: dict[int, Any] = {
        0: '{"tags": []}',
        1: Reply("cu", stop_reason="max_tokens"),
        2: Reply(stop_reason="refusal"),
        3: BAD,
        4: '{"tags": 3}',
    }
    with ClaudeEmulator(replies=scripted(answers)) as claude:
        run = over(job(max_attempts=1, output_schema=SCHEMA).start(), claude)
    batch = run.batches.get()
    shown = page(root, url(REQUESTS), batch=batch.pk)
    labels = re.findall(r'<td class="field-outcome_link"><a href="[^"]*">([^<]*)</a>', shown)
    assert labels == ["succeeded", "cut off", "refused", "errored", "invalid output"]
    listed = page(root, url(BATCHES))
    assert 'aria-label="1 succeeded, 1 cut off, 1 refused, 1 invalid output, 1 errored"' in listed
