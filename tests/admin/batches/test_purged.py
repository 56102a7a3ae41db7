"""The pages of a batch whose bodies were purged according to RETENTION."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.models import MessageBatch
from tests.admin.admin_pages import ANSWER, BATCHES, PROMPT, REQUESTS, RESULTS, act, page, said, url

pytestmark = pytest.mark.django_db


@pytest.fixture
def purged(ingested: MessageBatch, settings: Any) -> MessageBatch:
    settings.CLAUDE_BATCHES = {"KICK": False, "RETENTION": {"REQUEST_BODIES": 60, "RESULT_BODIES": 60}}
    ingested.results.filter(result_type="succeeded").update(raw=ANSWER.encode())
    minutes_ago = timezone.now() - timedelta(minutes=2)
    MessageBatch.objects.filter(pk=ingested.pk).update(missing_count=0, announced_at=minutes_ago)
    assert PROMPT in ingested.requests.get(position=0).params_text
    services.purge()
    ingested.refresh_from_db()
    return ingested


def test_a_request_says_when_its_params_went(root: Client, purged: MessageBatch) -> None:
    request = purged.requests.order_by("position")[0]
    shown = page(root, url(REQUESTS, "change", request.pk))
    assert purged.request_purge_note in shown
    assert "Purged on " in shown
    assert PROMPT not in shown
    assert request.custom_id in page(root, url(REQUESTS))


def test_a_result_says_when_its_message_went_and_shows_the_rest(root: Client, purged: MessageBatch) -> None:
    result = purged.results.get(result_type="succeeded")
    shown = page(root, url(RESULTS, "change", result.pk))
    assert "Purged on " in shown
    assert "end_turn" in shown
    assert ANSWER not in shown
    assert result.custom_id in page(root, url(RESULTS))


def test_a_failure_shows_its_kind_and_when_its_words_were_purged(root: Client, purged: MessageBatch) -> None:
    shown = page(root, url(RESULTS, "change", purged.results.get(result_type="errored").pk))
    assert "no &lt;script&gt;" not in shown
    assert "invalid_request_error" in shown
    assert "Purged on " in shown


def test_the_batch_shows_when_and_who(root: Client, purged: MessageBatch) -> None:
    shown = page(root, url(BATCHES, "change", purged.pk))
    assert "Request bodies purged" in shown
    assert "Result bodies purged" in shown
    assert "Requests purged at" in shown
    assert "1 line of the results could not be stored" in shown
    assert ">line of the results could not be stored<" in shown
    assert ANSWER not in shown


def test_receivers_are_not_called_again(root: Client, purged: MessageBatch) -> None:
    response = act(root, "announce_again", purged)
    assert "has no answers any more: they were purged" in " ".join(said(response))
    purged.refresh_from_db()
    assert purged.announced_at is not None
