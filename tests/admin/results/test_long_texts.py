"""Long texts are cut on their page, and whole at their own URL. Answers not billed at the batch rate are flagged."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from django_claude_batches.models import BatchResult, MessageBatch
from tests.admin.admin_pages import HOSTILE, REQUESTS, RESULTS, ingest, page, url
from tests.admin.conftest import Staff
from tests.harness.factories import item

pytestmark = pytest.mark.django_db
LONG = HOSTILE + "x" * 1_000_000 + "ÉND"


@pytest.fixture
def long(batch: MessageBatch) -> BatchResult:
    return ingest(batch, text=LONG).results.succeeded().get()


def test_an_answer_of_a_megabyte_is_cut_with_a_link_to_all_of_it(root: Client, long: BatchResult) -> None:
    shown = page(root, url(RESULTS, "change", long.pk))
    assert len(shown) < 300_000
    assert "Cut here: the first 100,000 of 1,000,0" in shown
    address = url(RESULTS, "whole", long.pk, "text")
    assert f'<a href="{address}">Read all of it</a>' in shown
    response = root.get(address)
    assert response.content.decode() == LONG
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]


def test_each_text_of_a_row_is_given_whole(root: Client, long: BatchResult) -> None:
    assert json.loads(page(root, url(RESULTS, "whole", long.pk, "message"))) == long.message
    BatchResult.objects.update(raw=b"\xff" + HOSTILE.encode())
    assert page(root, url(RESULTS, "whole", long.pk, "raw")) == "\N{REPLACEMENT CHARACTER}" + HOSTILE
    large = MessageBatch.objects.create_draft([item(0, system="y" * 200_000)])
    request = large.requests.get()
    assert page(root, url(REQUESTS, "whole", request.pk, "params")) == request.params_text


def test_the_row_of_the_uploaded_file_is_shown_with_its_request(root: Client) -> None:
    items = [{**item(0), "cells": ["1", f"two\n{HOSTILE}"]}, item(1)]
    batch = MessageBatch.objects.create_draft(items, cells_header=["No", "Text"])
    with_cells, without = batch.requests.order_by("position")
    shown = page(root, url(REQUESTS, "change", with_cells.pk))
    assert "ow of the uploaded file" in shown
    assert HOSTILE not in shown
    assert page(root, url(REQUESTS, "whole", with_cells.pk, "cells")) == f"No: 1\nText: two\n{HOSTILE}"
    assert "of the uploaded file" not in page(root, url(REQUESTS, "change", without.pk))


def test_it_needs_the_permission_of_the_page(client: Client, staff: Staff, long: BatchResult) -> None:
    answer, asked = url(RESULTS, "whole", long.pk, "text"), url(REQUESTS, "whole", long.request_id, "params")
    assert client.get(answer).status_code == 302
    viewer = staff("view_messagebatch")
    assert {viewer.get(answer).status_code, viewer.get(asked).status_code} == {403}
    assert staff("view_batchresult", username="ida").get(asked).status_code == 403
    assert staff("view_batchrequest", username="eve").get(answer).status_code == 403


@pytest.mark.parametrize("part", ["raw", "params", "nonsense"])
def test_the_url_of_a_text_that_the_row_lacks_is_not_found(root: Client, long: BatchResult, part: str) -> None:
    assert root.get(url(RESULTS, "whole", long.pk, part)).status_code == 404
    assert root.get(url(RESULTS, "whole", 999_999, "text")).status_code == 404


@pytest.mark.database
@pytest.mark.parametrize(("tier", "is_flagged"), [("batch", False), ("", False), ("standard", True), (HOSTILE, True)])
def test_an_answer_in_another_service_tier_is_flagged(
    root: Client, ingested: MessageBatch, tier: str, is_flagged: bool
) -> None:
    result = ingested.results.succeeded().get()
    BatchResult.objects.filter(pk=result.pk).update(service_tier=tier)
    assert ("Not billed at the batch rate" in page(root, url(RESULTS, "change", result.pk))) == is_flagged
    listed = page(root, url(RESULTS), batch=ingested.pk)
    assert ("dcb-flag" in listed) == is_flagged
    assert HOSTILE not in listed
    filtered: Any = root.get(url(RESULTS), {"batch": ingested.pk, "tier": "of_another_tier"}).context["cl"]
    assert [row.pk for row in filtered.result_list] == ([result.pk] if is_flagged else [])
