"""Permissions for states and counts, prompts, answers, and actions."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from itertools import chain
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from django_claude_batches.models import AccountState, MessageBatch, State
from tests.admin.admin_pages import ACCOUNTS, ANSWER, BATCHES, PROMPT, REQUESTS, RESULTS, in_state, page, url
from tests.admin.conftest import Staff
from tests.harness.selections import slow_but

pytestmark = pytest.mark.django_db


@pytest.fixture
def addresses(ingested: MessageBatch) -> dict[str, list[str]]:
    """Every page, by model."""
    account = AccountState.objects.create(alias="default")
    result = ingested.results.succeeded().get()
    rows = {BATCHES: ingested.pk, RESULTS: result.pk, REQUESTS: result.request_id, ACCOUNTS: account.pk}
    return {
        model: [url(model), f"{url(model)}?q=r-0", f"{url(model)}?batch={ingested.pk}"]
        + [url(model, name, pk) for name in ("change", "history", "delete")]
        for model, pk in rows.items()
    }


def test_anonymous_users_are_redirected_to_the_login(client: Client, addresses: dict[str, list[str]]) -> None:
    for address in chain(*addresses.values()):
        response = client.get(address)
        assert (response.status_code, response.url.split("?")[0]) == (302, "/admin/login/")


def test_staff_without_permission_see_nothing(staff: Staff, addresses: dict[str, list[str]]) -> None:
    client = staff()
    for address in chain(*addresses.values()):
        assert client.get(address).status_code == 403
    assert "Claude batches" not in page(client, "/admin/")


def test_who_may_view_batches_sees_states_and_counts_and_no_prompt_or_answer(
    staff: Staff, ingested: MessageBatch, addresses: dict[str, list[str]]
) -> None:
    client = staff("view_messagebatch")
    ingested.log_event("announced")
    for address in (*addresses[BATCHES][:2], *addresses[BATCHES][3:5]):
        shown = page(client, address)
        assert ANSWER not in shown
        assert PROMPT not in shown
        assert url(RESULTS) not in shown
        assert url(REQUESTS) not in shown
    shown = page(client, url(BATCHES, "change", ingested.pk))
    assert "1 succeeded" in shown
    assert "1 line of the results could not be stored" in shown
    for address in (addresses[BATCHES][-1], *addresses[RESULTS], *addresses[REQUESTS], *addresses[ACCOUNTS]):
        assert client.get(address).status_code == 403


def test_answers_are_gated_by_view_batchresult(staff: Staff, addresses: dict[str, list[str]]) -> None:
    client = staff("view_messagebatch", "view_batchresult")
    address = addresses[RESULTS][3]
    assert ANSWER in page(client, address)
    assert url(REQUESTS) not in page(client, address)
    assert ANSWER in page(client, addresses[BATCHES][3])
    assert url(REQUESTS) not in page(client, addresses[RESULTS][2])
    assert client.get(addresses[REQUESTS][3]).status_code == 403


def test_prompts_are_gated_by_view_batchrequest(staff: Staff, addresses: dict[str, list[str]]) -> None:
    client = staff("view_batchrequest")
    address = addresses[REQUESTS][3]
    assert PROMPT in page(client, address)
    for shown in (page(client, address), *map(partial(page, client), addresses[REQUESTS][:3])):
        assert url(RESULTS) not in shown
        assert url(BATCHES) not in shown
    assert client.get(addresses[RESULTS][3]).status_code == 403


def test_viewers_have_no_actions_and_no_buttons(staff: Staff, batch: MessageBatch) -> None:
    client = staff("view_messagebatch")
    for address in (url(BATCHES), url(BATCHES, "change", batch.pk)):
        shown = page(client, address)
        assert 'name="action"' not in shown
        assert "_save" not in shown
    assert client.post(url(BATCHES, "change", batch.pk), {"label": "other"}).status_code == 403
    assert client.post(url(BATCHES, "delete", batch.pk), {"post": "yes"}).status_code == 403
    assert MessageBatch.objects.get().label == ""


ACTIONS = {
    "submit": ("submit_messagebatch", State.DRAFT),
    "take_back": ("cancel_messagebatch", State.QUEUED),
    "cancel": ("cancel_messagebatch", State.IN_PROGRESS),
    "delete_remote": ("delete_remote_messagebatch", State.INGESTED),
    "check": ("advance_messagebatch", State.IN_PROGRESS),
    "announce_again": ("advance_messagebatch", State.INGESTED),
    "identify": ("identify_messagebatch", State.UNCERTAIN),
    "abandon": ("identify_messagebatch", State.UNCERTAIN),
    "declare_lost": ("identify_messagebatch", State.IN_PROGRESS),
    "delete_selected": ("delete_messagebatch", State.DRAFT),
}
# Columns of a batch that Anthropic did not find, so that it can be declared lost.
MISSING: dict[str, Any] = {"misses": 3, "missed_at": timezone.now() - timedelta(hours=1)}
ALL_BUT = {codename for codename, _state in ACTIONS.values()}


@pytest.mark.parametrize("action", slow_but(2, ACTIONS))
@pytest.mark.parametrize("confirmed", slow_but(1, [True, False]))
def test_an_action_is_hidden_and_refused_without_its_own_permission(
    staff: Staff, batch: MessageBatch, action: str, confirmed: bool
) -> None:
    codename, state = ACTIONS[action]
    in_state(batch, state, **MISSING)
    before = MessageBatch.objects.values().get()
    client = staff("view_messagebatch", *(ALL_BUT - {codename}))
    assert f'value="{action}"' not in page(client, url(BATCHES))
    assert f'value="{action}"' not in page(client, url(BATCHES, "change", batch.pk))
    data = {
        "action": action,
        "_selected_action": [batch.pk],
        "word": "abandon",
        "typed_id": "msgbatch_x",
        **({"confirmed": 1} if confirmed else {}),
    }
    response = client.post(url(BATCHES), data)
    assert response.status_code == 403
    assert MessageBatch.objects.values().get() == before
    assert not batch.events.exclude(what="drafted").exists()


@pytest.mark.parametrize("action", slow_but(2, ACTIONS))
def test_an_action_needs_no_other_permission(staff: Staff, batch: MessageBatch, action: str) -> None:
    codename, state = ACTIONS[action]
    in_state(batch, state, **MISSING)
    client = staff("view_messagebatch", codename)
    assert f'value="{action}"' in page(client, url(BATCHES))
    if action != "delete_selected":
        assert f'value="{action}"' in page(client, url(BATCHES, "change", batch.pk))
    response = client.post(url(BATCHES), {"action": action, "_selected_action": [batch.pk]})
    assert response.status_code == 200
    assert 'name="confirmed"' in response.content.decode()


def test_resuming_needs_the_permission_to_submit(staff: Staff) -> None:
    account = AccountState.objects.create(alias="default", paused_at=timezone.now())
    data = {"action": "resume", "_selected_action": [account.pk], "confirmed": "yes"}
    viewer = staff("view_accountstate", "change_accountstate")
    assert 'value="resume"' not in page(viewer, url(ACCOUNTS))
    viewer.post(url(ACCOUNTS), data)
    account.refresh_from_db()
    assert account.paused_at is not None
    staff("view_accountstate", "submit_messagebatch", username="ida").post(url(ACCOUNTS), data)
    account.refresh_from_db()
    assert account.paused_at is None
