"""The live parts of a batch's page, which a script fetches while the batch changes."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import chain

import pytest
from django.contrib.staticfiles import finders
from django.test import Client
from django.utils import timezone
from django.utils.formats import date_format

from django_claude_batches.models import MessageBatch, State
from django_claude_batches.models.batch_state import ALWAYS_DUE
from tests.admin.admin_pages import ACCOUNTS, ANSWER, BATCHES, REQUESTS, RESULTS, in_state, ingest, page, url
from tests.admin.conftest import Staff
from tests.harness.factories import draft
from tests.harness.selections import slow_but

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("state", slow_but(2, State))
def test_the_page_of_a_batch_that_moves_names_its_card_and_the_script(
    root: Client, batch: MessageBatch, state: State
) -> None:
    in_state(batch, state)
    shown = page(root, url(BATCHES, "change", batch.pk))
    moves = state in ALWAYS_DUE
    assert ("django_claude_batches/refresh.js" in shown) == moves
    assert (f'data-dcb-url="{url(BATCHES, "card", batch.pk)}"' in shown) == moves
    assert (f'data-dcb-url="{url(BATCHES, "card", batch.pk)}"' in page(root, url(BATCHES, "card", batch.pk))) == moves


def test_the_script_is_there() -> None:
    assert finders.find("django_claude_batches/refresh.js")


def test_the_card_has_each_part_that_moves_and_no_page_around_it(root: Client, ingested: MessageBatch) -> None:
    shown = page(root, url(BATCHES, "change", ingested.pk))
    card = page(root, url(BATCHES, "card", ingested.pk))
    parts = re.compile(r'data-dcb-part="(\w+)"')
    assert parts.findall(card) == parts.findall(shown) == ["buttons", "card", "rows"]
    for text in ("1 succeeded", ANSWER, "Timeline"):
        assert text in card
    assert "<html" not in card
    assert "csrfmiddlewaretoken" not in card


def test_the_card_needs_the_permission_of_the_page(staff: Staff, client: Client, ingested: MessageBatch) -> None:
    address = url(BATCHES, "card", ingested.pk)
    assert client.get(address).status_code == 302
    assert staff().get(address).status_code == 403
    assert staff("view_batchresult", username="ida").get(address).status_code == 403
    shown = page(staff("view_messagebatch", username="eve"), address)
    assert "1 succeeded" in shown
    assert ANSWER not in shown


@pytest.mark.parametrize("given", ["999", "9" * 40, "x", "1 OR 1"])
def test_there_is_no_card_of_no_batch(root: Client, batch: MessageBatch, given: str) -> None:
    assert root.get(url(BATCHES, "card", given)).status_code == 404


def test_the_card_is_not_kept_by_a_browser(root: Client, batch: MessageBatch) -> None:
    assert "no-store" in root.get(url(BATCHES, "card", batch.pk)).headers["Cache-Control"]


def test_no_page_has_a_style_or_a_script_within_it(root: Client, batch: MessageBatch) -> None:
    """A `Content-Security-Policy` of `script-src 'self'; style-src 'self'` breaks none of them."""
    ingest(batch)
    result = batch.results.succeeded().get()
    addresses = [url(name) for name in (BATCHES, RESULTS, REQUESTS, ACCOUNTS)]
    addresses += [url(BATCHES, "change", batch.pk), url(RESULTS, "change", result.pk)]
    addresses += [url(REQUESTS, "change", result.request_id), url(BATCHES, "card", batch.pk)]
    shown = [page(root, address) for address in addresses]
    moving = [in_state(draft(1), state).pk for state in (State.UNCERTAIN, State.IN_PROGRESS)]
    shown += [page(root, url(BATCHES, "change", pk)) for pk in moving]
    found = chain(
        *(re.findall(r"""<[^>]*\s(?:style|on\w+)=|<style|<script(?![^>]*src=)[^>]*>""", text) for text in shown)
    )
    assert not [tag for tag in found if "application/json" not in tag]


def test_the_page_names_its_time_zone_once_and_has_one_time_format(root: Client, batch: MessageBatch) -> None:
    at = datetime(2026, 7, 1, 10, 30, tzinfo=UTC)
    batch.log_event("noted", "a time")
    batch.events.update(at=at)
    in_state(batch, State.INCOMPLETE, created_at=at, next_action_at=at, cancel_requested_at=at, delete_requested_at=at)
    shown = page(root, url(BATCHES, "change", batch.pk))
    assert shown.count("All times on this page are those of") == 1
    text = date_format(timezone.localtime(at), "DATETIME_FORMAT")
    assert shown.count(text.removesuffix(".")) >= 4
    assert date_format(timezone.localtime(at), "SHORT_DATETIME_FORMAT") not in shown
