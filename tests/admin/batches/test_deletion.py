"""Deleting batches from the database: only in deletable states, and without loading their rows."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import DELETION, LogEntry
from django.test import Client

from django_claude_batches.db.leases import LEASE, now_plus
from django_claude_batches.models import BatchEvent, BatchRequest, BatchResult, MessageBatch, State, SubmitAttempt
from django_claude_batches.models.batch_state import DELETABLE
from tests.admin.admin_pages import BATCHES, HOSTILE, act, in_state, page, said, url
from tests.harness.factories import draft
from tests.harness.selections import slow_but

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("state", slow_but(2, State))
def test_the_delete_button_is_for_deletable_batches(root: Client, batch: MessageBatch, state: State) -> None:
    in_state(batch, state)
    address = url(BATCHES, "delete", batch.pk)
    assert (address in page(root, url(BATCHES, "change", batch.pk))) == (state in DELETABLE)
    assert root.get(address).status_code == (200 if state in DELETABLE else 403)
    assert root.post(address, {"post": "yes"}).status_code == (302 if state in DELETABLE else 403)
    assert MessageBatch.objects.exists() == (state not in DELETABLE)


def test_a_batch_goes_with_its_rows_and_its_attempts_stay(root: Client, ingested: MessageBatch) -> None:
    pk = ingested.pk
    root.post(url(BATCHES, "delete", pk), {"post": "yes"})
    assert not any(model.objects.exists() for model in (MessageBatch, BatchRequest, BatchResult, BatchEvent))
    assert SubmitAttempt.objects.get().batch is None
    entry = LogEntry.objects.get()
    assert (entry.action_flag, entry.object_id) == (DELETION, str(pk))


def test_the_confirmation_page_loads_no_requests_or_results(
    root: Client, ingested: MessageBatch, django_assert_max_num_queries: Any, ticking: object
) -> None:
    MessageBatch.objects.filter(pk=ingested.pk).update(label=HOSTILE)
    with django_assert_max_num_queries(10) as captured:
        shown = page(root, url(BATCHES, "delete", ingested.pk))
    assert "with its requests, results and timeline" in shown
    assert HOSTILE not in shown
    for table in ("batchrequest", "batchresult", "batchevent"):
        assert not any(f'FROM "django_claude_batches_{table}"' in query["sql"] for query in captured)


def test_the_action_deletes_what_may_be_deleted_and_says_what_not(root: Client) -> None:
    batches = [in_state(draft(1), state) for state in (State.DRAFT, State.INGESTED, State.IN_PROGRESS)]
    running = batches[-1]
    skipped = (
        f"1 skipped: {running} is already running at Anthropic. "
        "Only drafts, refused or held batches and finished ones can be deleted here."
    )
    assert said(act(root, "delete_selected", *batches)) == ["2 batches are deleted here.", skipped]
    assert MessageBatch.objects.get() == running
    assert [entry.action_flag for entry in LogEntry.objects.all()] == [DELETION, DELETION]


def test_a_leased_batch_is_not_deleted(root: Client, batch: MessageBatch) -> None:
    in_state(batch, State.INGESTED, lease_token="x", lease_until=now_plus(LEASE))
    assert said(act(root, "delete_selected", batch))[0].startswith(f"1 skipped: {batch}: Cannot delete batch")
    response = root.post(url(BATCHES, "delete", batch.pk), {"post": "yes"})
    assert response.url == url(BATCHES, "change", batch.pk)
    assert MessageBatch.objects.exists()
    assert not LogEntry.objects.exists()
