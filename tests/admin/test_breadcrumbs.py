"""The breadcrumbs of each page: the app, the list, the row, and the page."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from django_claude_batches.models import MessageBatch
from tests.admin.admin_pages import BATCHES, REQUESTS, RESULTS, RUNS, USAGE, act, page, url
from tests.admin.conftest import Staff
from tests.harness.factories import draft
from tests.harness.shop import job

pytestmark = pytest.mark.django_db

ITEM = re.compile(r"<li[^>]*>(.*?)</li>", re.DOTALL)


def crumbs(shown: str) -> list[str]:
    """Return the steps; those with a link end in "*"."""
    found = re.search(r'<(ol|div) class="breadcrumbs.*?</\1>', shown, re.DOTALL)
    assert found is not None
    steps = ITEM.findall(found[0]) or re.split("&rsaquo;", re.sub("</?div[^>]*>", "", found[0]))
    texts = [(re.sub("<[^>]*>", "", step).strip(), "<a " in step) for step in steps]
    return [unescape(text) + "*" * linked for text, linked in texts]


def of_batch(batch: MessageBatch, *steps: str) -> list[str]:
    return ["Home*", "Claude batches*", "Batches*", f"{batch}*", *steps]


def test_lists_and_rows_of_a_batch_lead_back_through_it(root: Client, ingested: MessageBatch) -> None:
    result = ingested.results.succeeded().get()
    batch = ingested
    assert crumbs(page(root, url(BATCHES, "change", batch.pk))) == [*of_batch(batch)[:-1], str(batch)]
    assert crumbs(page(root, url(RESULTS), batch=batch.pk)) == of_batch(batch, "Results")
    assert crumbs(page(root, url(REQUESTS), batch=batch.pk)) == of_batch(batch, "Requests")
    to_row = ["Home*", "Claude batches*", "Batches*", f"#{batch.pk}*", "Results*", str(result)]
    assert crumbs(page(root, url(RESULTS, "change", result.pk))) == to_row
    export = reverse("admin:django_claude_batches_batchresult_export", args=[batch.pk])
    assert crumbs(page(root, export)) == of_batch(batch, f"Export results of batch {batch}")


def test_confirmation_pages_lead_back(root: Client, batch: MessageBatch) -> None:
    confirm = act(root, "submit", batch, confirmed=False).content.decode()
    assert crumbs(confirm) == of_batch(batch, "Submit to Claude")
    several = act(root, "submit", batch, draft(1), confirmed=False).content.decode()
    assert crumbs(several) == ["Home*", "Claude batches*", "Batches*", "Submit to Claude"]


def test_pages_beside_the_lists_lead_to_them(root: Client) -> None:
    job()
    assert crumbs(page(root, url(BATCHES, "add")))[:3] == ["Home*", "Claude batches*", "Batches*"]
    assert crumbs(page(root, url(RUNS, "jobs")))[:3] == ["Home*", "Claude batches*", "Runs*"]
    assert crumbs(page(root, url(RUNS, "start", "tag-reviews")))[:3] == ["Home*", "Claude batches*", "Runs*"]
    assert crumbs(page(root, url(USAGE))) == ["Home*", "Claude batches*", "Usage"]


def test_users_who_may_not_view_the_list_get_no_link_to_it(staff: Staff, ingested: MessageBatch) -> None:
    client: Any = staff("view_batchresult")
    shown = crumbs(page(client, url(RESULTS), batch=ingested.pk))
    assert shown == ["Home*", "Claude batches*", "Batches", str(ingested), "Results"]
