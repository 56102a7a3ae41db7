"""From a table to a draft in a browser: all pages are accessible, and the file is chosen once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from django_claude_batches.models import BatchUpload, MessageBatch
from tests.admin.admin_pages import ingest
from tests.browser.accessibility import grave_violations
from tests.browser.console import Console, address
from tests.browser.looks import BATCHES, FORMS, REQUESTS, RESULTS
from tests.browser.office import Office
from tests.browser.test_accessibility import RULES

pytestmark = pytest.mark.browser

TABLE = (
    'Ticket,Subject,Body\r\nT-1,"Broken, again","It broke.\r\n- twice"\r\n'
    "T-2,=1+1,\N{ARABIC LETTER MEEM}\N{ARABIC LETTER REH}\r\n"
).encode()


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def page(console: Console, office: Office, form: str) -> Iterator[Any]:
    page, _watch = console.log_in(office.ada, **FORMS[form])
    yield page
    page.context.close()


def look(page: Any, form: str, name: str) -> None:
    """Check for serious violations and for overflow; save a picture if UPLOAD_PICTURES names a folder."""
    if folder := os.environ.get("UPLOAD_PICTURES"):
        page.screenshot(path=Path(folder) / f"{name}-{form}.png", full_page=True)
    assert grave_violations(page, RULES[form]) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= FORMS[form]["viewport"]["width"]


def test_the_way_from_a_table_that_fails_twice_to_a_draft(page: Any, form: str) -> None:
    page.goto(address(BATCHES, "add"))
    look(page, form, "new")
    page.set_input_files("input[name=file]", {"name": "tickets.csv", "mimeType": "text/csv", "buffer": TABLE})
    page.fill("[name=prompt]", "Sort this: {Subject}\n\n{Boddy")
    page.fill("[name=model]", "claude-haiku-4-5")
    page.fill("[name=system]", "You sort tickets.\nBe brief.")
    page.fill("[name=name_by]", "ticket")
    page.click("text=Check the file")
    look(page, form, "invalid")
    assert page.input_value("[name=model]") == "claude-haiku-4-5"
    page.fill("[name=prompt]", "Sort this: {Subject}\n\n{Boddy}")
    page.click("text=Check again")
    page.wait_for_selector("text=Change the prompt and check again")
    look(page, form, "failed")
    page.click("text=Change the prompt and check again")
    page.fill("[name=prompt]", "Sort this: {Subject}\n\n{Body}")
    look(page, form, "change")
    page.click("text=Check again")
    page.wait_for_selector("text=Make it a draft")
    look(page, form, "checked")
    assert "Sort this: Broken, again" in page.inner_text("#content-main")
    assert not page.locator("details pre").first.is_visible()
    page.click("text=The whole request, as it will be sent >> nth=0")
    assert page.locator("details pre").first.is_visible()
    page.click("text=Make it a draft")
    page.wait_for_selector("text=is a draft")
    batch = MessageBatch.objects.latest("pk")
    assert BatchUpload.objects.filter(batch=batch).count() == 1
    assert (batch.cells_header, batch.requests.get(position=1).custom_id) == (["Ticket", "Subject", "Body"], "T-2")
    ingest(batch)
    page.goto(f"/admin/django_claude_batches/{RESULTS}/export/{batch.pk}/")
    look(page, form, "export")
    assert "the columns of the file: Ticket, Subject, Body" in page.inner_text("#content-main")
    page.goto(address(REQUESTS, "change", batch.requests.get(position=0).pk))
    look(page, form, "request")
    assert "Subject: Broken, again" in page.inner_text("#content-main")
    batch.delete()
