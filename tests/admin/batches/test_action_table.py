"""Every action of batches in every state and with every permission, in a table written by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import filterfalse
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone

from django_claude_batches.models import BatchEvent, MessageBatch, State
from tests.admin.admin_pages import BATCHES, in_state, page, said, url
from tests.admin.conftest import Staff
from tests.harness.factories import draft
from tests.harness.selections import slow_but

pytestmark = pytest.mark.django_db


@dataclass(frozen=True)
class Row:
    """A row of the table. `states` has a sign for each of STATES, in their order; `+` means legal."""

    permission: str
    states: str
    event: str
    rule: str
    answers: dict[str, Any] = field(default_factory=dict)


STATES = (
    *("draft", "queued", "submitting", "uncertain", "held", "abandoned", "rejected"),
    *("in_progress", "canceling", "ended", "incomplete", "ingested", "lost"),
)
STANDING = {
    "draft": "is a draft",
    "queued": "is already waiting to be sent",
    "submitting": "is already being sent",
    "uncertain": "was sent and is not confirmed",
    "held": "was not received",
    "abandoned": "was abandoned",
    "rejected": "was refused by Anthropic",
    "in_progress": "is already running at Anthropic",
    "canceling": "is already being canceled",
    "ended": "has finished, and its results are being fetched",
    "incomplete": "has finished, and its results are being fetched",
    "ingested": "is complete",
    "lost": "has lost its results",
}
RETRIED = {"outcomes": ["missing"], "retries_before": "0"}
TABLE = {
    # name              permission        d q s u h a r  p c e i I l
    "submit": Row("submit_messagebatch", "+...+.+......", "submitted", "Only drafts and refused or held"),
    "take_back": Row("cancel_messagebatch", ".+...........", "taken_back", "Only batches that wait to be sent"),
    "cancel": Row("cancel_messagebatch", "..++...+.....", "cancel_requested", "Only batches that are being sent or"),
    "check": Row("advance_messagebatch", ".+++...++++..", "check_requested", "Only batches that have a next step"),
    "reingest": Row("reingest_messagebatch", "...........+.", "reingest_requested", "Only complete batches whose"),
    "retry": Row("retry_messagebatch", ".....+.....++", "retried", "Only finished batches whose", RETRIED),
    "announce_again": Row("advance_messagebatch", "...........+.", "announce_requested", "Only complete batches"),
    "delete_remote": Row(
        "delete_remote_messagebatch", "..++...++++++", "delete_requested", "Only batches that were sent"
    ),
    "identify": Row(
        "identify_messagebatch",
        "...+++.......",
        "identification_requested",
        "Only batches that are not",
        {"typed_id": "msgbatch_x"},
    ),
    "abandon": Row(
        "identify_messagebatch", "...+.........", "abandoned", "Only batches that were sent", {"word": "abandon"}
    ),
    "declare_lost": Row(
        "identify_messagebatch",
        ".......++++..",
        "lost",
        "Only batches that Anthropic did not",
        {"word": "declare lost"},
    ),
    "delete_selected": Row("delete_messagebatch", "+...+++....++", "", "Only drafts, refused or held batches"),
}
PERMISSIONS = sorted({row.permission for row in TABLE.values()} | {"change_messagebatch", "view_batchresult"})


def is_for(action: str, state: str) -> bool:
    return TABLE[action].states[STATES.index(state)] == "+"


def of(state: str) -> MessageBatch:
    """Create a batch of three requests in that state, without results."""
    gone: dict[str, Any] = {"missing_count": 3} if state in {"ingested", "lost"} else {}
    if state in {"in_progress", "canceling", "ended", "incomplete"}:
        gone = {"misses": 3, "missed_at": timezone.now() - timedelta(hours=1)}
    return in_state(draft(3), State(state), **gone) if state != "draft" else draft(3)


def everything() -> tuple[Any, ...]:
    """Return all rows that an action may write."""
    batches = list(MessageBatch.objects.order_by("pk").values())
    events = list(MessageBatch.objects.order_by("pk", "events__pk").values_list("events__what", flat=True))
    return batches, events, LogEntry.objects.count()


def batch_at(pk: int) -> MessageBatch:
    """Return an unsaved row with this key, for posting to a row that may be deleted."""
    return MessageBatch(pk=pk)


def on_list(client: Client, action: str, batch: MessageBatch, **fields: Any) -> Any:
    data = {"action": action, "_selected_action": [batch.pk], "confirmed": "yes", **TABLE[action].answers, **fields}
    return client.post(url(BATCHES), data)


# A repeated action of these logs the event again, and changes nothing else: the row is due already.
REPEATABLE = frozenset({"check", "announce_again", "identify"})


def test_the_table_is_whole() -> None:
    assert set(STATES) == set(State.values)
    assert {len(row.states) for row in TABLE.values()} == {len(STATES)}


@pytest.mark.parametrize("action", slow_but(4, TABLE))
def test_what_is_legal_happens_once(staff: Staff, action: str) -> None:
    row, client = TABLE[action], staff("view_messagebatch", TABLE[action].permission)
    for state in filter(partial(is_for, action), STATES):
        batch = of(state)
        pk = batch.pk
        done = on_list(client, action, batch)
        assert (done.status_code, "skipped" in said(done)[-1]) == (302, False), state
        assert LogEntry.objects.filter(object_id=str(pk), user__username="grace").count() == 1, state
        assert BatchEvent.objects.filter(batch=pk, what=row.event).count() == bool(row.event), state
        assert MessageBatch.objects.filter(pk=pk).exists() == (action != "delete_selected"), state
        after = everything()
        again = on_list(client, action, batch_at(pk))  # a second click, or the same form sent by hand
        if action in REPEATABLE:
            assert BatchEvent.objects.filter(batch=pk, what=row.event).count() == 2, state
            continue
        assert everything() == after, state
        if action == "retry":
            assert "these rows have been retried since this page was opened, by #" in again.content.decode(), state
        elif action == "delete_selected":
            assert said(again)[-1] == "Nothing was done: the rows no longer exist.", state
        else:
            assert said(again)[-1].startswith(f"1 skipped: {batch} "), state


@pytest.mark.parametrize("action", slow_but(4, TABLE))
def test_what_is_illegal_says_why_and_changes_nothing(staff: Staff, action: str) -> None:
    client = staff("view_messagebatch", TABLE[action].permission)
    for state in filterfalse(partial(is_for, action), STATES):
        batch = of(state)
        before = everything()
        response = on_list(client, action, batch)
        assert said(response)[-1].startswith(f"1 skipped: {batch} {STANDING[state]}. {TABLE[action].rule}"), state
        assert everything() == before, state


@pytest.mark.parametrize("action", slow_but(4, TABLE))
def test_no_permission_but_its_own_is_enough(staff: Staff, action: str) -> None:
    """Each other permission with the one to view, by POSTs that no page offers that user, in the first legal state."""
    batch = of(STATES[TABLE[action].states.index("+")])
    before = everything()
    for permission in [*PERMISSIONS, "view_messagebatch"]:
        if permission == TABLE[action].permission:
            continue
        client = staff(*{"view_messagebatch", permission}, username=permission)
        response = on_list(client, action, batch)
        assert response.status_code == 403, permission
        assert everything() == before, permission


@pytest.mark.parametrize("action", slow_but(4, TABLE))
def test_view_permissions_allow_no_action(staff: Staff, action: str) -> None:
    client = staff("view_messagebatch", "view_batchrequest", "view_batchresult", "view_accountstate")
    for state in STATES:
        batch = of(state)
        before = everything()
        response = on_list(client, action, batch)
        assert response.status_code == 403, state
        assert everything() == before, state


@pytest.mark.slow
@pytest.mark.parametrize("state", slow_but(1, STATES))
def test_each_permission_offers_its_own_actions_where_they_are_legal(staff: Staff, state: str) -> None:
    batch = of(state)
    for permission in PERMISSIONS:
        client = staff("view_messagebatch", permission, username=permission)
        on_row = page(client, url(BATCHES, "change", batch.pk))
        on_list = page(client, url(BATCHES))
        own = {action for action, row in TABLE.items() if row.permission == permission}
        assert {action for action in TABLE if f'value="{action}"' in on_list} == own, permission
        legal = {action for action in own - {"delete_selected"} if is_for(action, state)}
        assert {action for action in TABLE if f'value="{action}"' in on_row} == legal, permission


def test_who_may_view_nothing_is_refused(staff: Staff) -> None:
    client, batch = staff("submit_messagebatch"), of("draft")
    before = everything()
    assert on_list(client, "submit", batch).status_code == 403
    assert everything() == before


def test_there_is_one_button_for_each_and_no_second_choice(root: Client) -> None:
    """On Django 6.1, its own select of actions would be beside the buttons."""
    shown = page(root, url(BATCHES, "change", of("draft").pk))
    assert shown.count('value="submit"') == 1
    assert '<button type="submit" class="dcb-button" form="dcb-actions" name="action" value="submit">' in shown
    assert "<select" not in shown.partition("<fieldset")[0]
