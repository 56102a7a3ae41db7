"""Each action: its confirmation page, what it does, what it writes, what it skips, and that it wakes a worker once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.test import Client
from django.utils import timezone

from django_claude_batches.models import AccountState, BatchEvent, BatchRequest, MessageBatch, State
from django_claude_batches.models.batch_state import ALWAYS_DUE, DELETABLE, EDITABLE, IDENTIFIABLE, UNANSWERED
from django_claude_batches.services.polling.delete import DELETABLE_REMOTELY
from tests.admin.admin_pages import ACCOUNTS, BATCHES, HOSTILE, RESULTS, act, in_state, page, said, url
from tests.harness.factories import draft
from tests.harness.selections import slow_but

pytestmark = pytest.mark.django_db

LATER = "2999-01-01T00:00Z"

LEGAL: dict[str, frozenset[State]] = {
    "submit": EDITABLE,
    "take_back": frozenset({State.QUEUED}),
    "cancel": UNANSWERED | {State.IN_PROGRESS},
    "delete_remote": DELETABLE_REMOTELY,
    "check": ALWAYS_DUE,
    "announce_again": frozenset({State.INGESTED}),
    "identify": IDENTIFIABLE,
    "abandon": frozenset({State.UNCERTAIN}),
    "delete_selected": DELETABLE,
}
WRITES = {
    "submit": "submitted",
    "take_back": "taken_back",
    "cancel": "cancel_requested",
    "delete_remote": "delete_requested",
    "check": "check_requested",
    "announce_again": "announce_requested",
    "identify": "identification_requested",
    "abandon": "abandoned",
}
WORDS = {
    "submit": ["3 batches, 9 requests, account default, second.", "This is billed once sent."],
    "take_back": ["3 batches, 9 requests"],
    "cancel": ["Finished requests stay billed and are kept."],
    "delete_remote": ["The rows here stay."],
    "check": ["3 batches, 9 requests"],
    "announce_again": ["Nothing is sent to Anthropic."],
    "abandon": ["billed", "abandon"],
    "delete_selected": ["Cannot be undone.", "Nothing changes at Anthropic."],
}


@pytest.mark.parametrize("action", slow_but(2, WORDS))
def test_nothing_happens_before_it_is_confirmed(root: Client, action: str) -> None:
    state = sorted(LEGAL[action])[0]
    batches = [in_state(draft(3, account=name), state) for name in ("default", "default", "second")]
    before = list(MessageBatch.objects.order_by("pk").values())
    response = act(root, action, *batches, confirmed=False)
    shown = response.content.decode()
    assert response.status_code == 200
    for text in (*WORDS[action], *(f"#{batch.pk}" for batch in batches)):
        assert text in shown
    assert list(MessageBatch.objects.order_by("pk").values()) == before
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize("state", slow_but(4, State))
@pytest.mark.parametrize("action", slow_but(2, LEGAL))
def test_an_action_is_for_the_states_that_allow_it(
    root: Client, batch: MessageBatch, action: str, state: State, settings: Any, django_capture_on_commit_callbacks: Any
) -> None:
    settings.CLAUDE_BATCHES = {"KICK": True}
    in_state(batch, state)
    pk, before = batch.pk, MessageBatch.objects.values().get()
    shown = page(root, url(BATCHES, "change", batch.pk))
    if action != "delete_selected":
        assert (f'value="{action}"' in shown) == (state in LEGAL[action])
    with django_capture_on_commit_callbacks() as callbacks:
        response = act(root, action, batch, word="abandon", typed_id="msgbatch_x")
    if state not in LEGAL[action]:
        assert MessageBatch.objects.values().get() == before
        assert said(response)[0].startswith(f"1 skipped: #{pk} ")
        assert (callbacks, LogEntry.objects.count()) == ([], 0)
        return
    assert len(said(response)) == 1
    assert len(callbacks) == 1
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.user.username) == (str(pk), "ada")
    if action == "delete_selected":
        assert entry.action_flag == DELETION
        assert not MessageBatch.objects.exists()
        assert not BatchRequest.objects.exists()
    else:
        assert entry.action_flag == CHANGE
        event = BatchEvent.objects.get(what=WRITES[action])
        assert (event.batch_id, event.by_name) == (pk, "ada")


@pytest.mark.database  # rows are locked
def test_what_each_records(root: Client) -> None:
    def after(action: str, state: State, **fields: Any) -> MessageBatch:
        batch = in_state(draft(1), state)
        MessageBatch.objects.filter(pk=batch.pk, state__in=ALWAYS_DUE).update(next_action_at=LATER)
        act(root, action, batch, **fields)
        batch.refresh_from_db()
        return batch

    assert after("submit", State.DRAFT).state == State.QUEUED
    assert after("take_back", State.QUEUED).state == State.DRAFT
    assert after("cancel", State.IN_PROGRESS).cancel_requested_at is not None
    assert after("delete_remote", State.INGESTED).delete_requested_at is not None
    assert after("check", State.IN_PROGRESS).next_action_at <= timezone.now()
    assert after("announce_again", State.INGESTED).announced_at is None
    assert after("abandon", State.UNCERTAIN, word=" Abandon ").state == State.ABANDONED


def test_legal_rows_are_submitted_and_skipped_rows_are_named(root: Client, batch: MessageBatch) -> None:
    running = in_state(draft(1, label="nightly"), State.IN_PROGRESS)
    done = in_state(draft(1), State.INGESTED)
    words = (
        f'2 skipped: #{running.pk} "nightly" is already running at Anthropic; {done} is complete. '
        "Only drafts and refused or held batches can be submitted."
    )
    shown = act(root, "submit", batch, running, done, confirmed=False).content.decode()
    assert words.replace('"', "&quot;") in shown
    assert f'value="{running.pk}"' not in shown
    response = act(root, "submit", batch, running, done)
    assert said(response) == ["1 batch is queued and goes out shortly.", words]
    batch.refresh_from_db()
    assert batch.state == State.QUEUED


def test_if_all_rows_are_skipped_there_is_no_confirmation_page(root: Client) -> None:
    batches = [in_state(draft(1), State.INGESTED) for _ in range(7)]
    response = act(root, "submit", *batches, confirmed=False)
    assert (response.status_code, response.url) == (302, url(BATCHES))
    assert "is complete; and 2 more. Only" in said(response)[0]


@pytest.mark.parametrize(
    ("action", "changes", "words"),
    [
        ("cancel", {"cancel_requested_at": timezone.now()}, "is already being canceled"),
        ("delete_remote", {"delete_requested_at": timezone.now()}, "is already going to be deleted at Anthropic"),
        ("delete_remote", {"remote_deleted_at": timezone.now()}, "is already deleted at Anthropic"),
    ],
)
def test_an_intent_is_recorded_once(
    root: Client, batch: MessageBatch, action: str, changes: dict[str, Any], words: str
) -> None:
    in_state(batch, State.IN_PROGRESS, **changes)
    assert f'value="{action}"' not in page(root, url(BATCHES, "change", batch.pk))
    assert said(act(root, action, batch))[0].startswith(f"1 skipped: {batch} {words}. ")


def test_a_complete_batch_whose_receivers_were_not_called_can_be_checked(root: Client, batch: MessageBatch) -> None:
    in_state(batch, State.INGESTED, announced_at=None, next_action_at=LATER)
    act(root, "check", batch)
    batch.refresh_from_db()
    assert batch.next_action_at <= timezone.now()


@pytest.mark.parametrize("word", ["", "yes", "giveup"])
def test_abandoning_requires_a_typed_word(root: Client, batch: MessageBatch, word: str) -> None:
    in_state(batch, State.UNCERTAIN)
    response = act(root, "abandon", batch, word=word)
    assert "Nothing was done: type “abandon” to confirm." in response.content.decode()
    batch.refresh_from_db()
    assert batch.state == State.UNCERTAIN


def test_an_account_that_the_settings_do_not_know_is_skipped(root: Client, batch: MessageBatch) -> None:
    stray = draft(1, account="defualt")
    done, skipped = said(act(root, "submit", batch, stray))
    assert done == "1 batch is queued and goes out shortly."
    assert skipped.startswith(f'1 skipped: #{stray.pk}: Unknown account "defualt": did you mean "default"?')
    stray.refresh_from_db()
    assert stray.state == State.DRAFT
    assert LogEntry.objects.count() == 1


def test_hostile_names_are_text_in_pages_and_messages(root: Client, batch: MessageBatch) -> None:
    hostile = in_state(draft(1, label=HOSTILE), State.INGESTED)
    MessageBatch.objects.filter(pk=batch.pk).update(label=HOSTILE)
    assert HOSTILE not in act(root, "submit", batch, hostile, confirmed=False).content.decode()
    act(root, "submit", batch, hostile)
    shown = page(root, url(BATCHES))
    assert "1 skipped" in shown
    assert HOSTILE not in shown


def test_one_kick_for_a_request_and_none_before_commit(
    root: Client, settings: Any, django_capture_on_commit_callbacks: Any
) -> None:
    settings.CLAUDE_BATCHES = {"KICK": True}
    sent: list[str] = []
    batches = [draft(1) for _ in range(3)]
    with Celery("tests", broker="memory://", set_as_current=True) as app:
        from celery.signals import before_task_publish

        record: Callable[..., None] = lambda sender, **_kwargs: sent.append(sender)  # noqa: E731
        before_task_publish.connect(record)
        try:
            with django_capture_on_commit_callbacks(execute=True):
                act(root, "submit", *batches)
                assert sent == []
        finally:
            before_task_publish.disconnect(record)
            app.set_default()
    assert sent == ["django_claude_batches.tick"]


def test_without_kick_no_broker_is_touched(
    root: Client, batch: MessageBatch, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks() as callbacks:
        act(root, "submit", batch)
    assert callbacks == []


def test_an_action_returns_to_where_it_began(root: Client, batch: MessageBatch) -> None:
    here = url(BATCHES, "change", batch.pk)
    confirmation = act(root, "submit", batch, confirmed=False, next=here).content.decode()
    assert f'name="next" value="{here}"' in confirmation
    assert act(root, "submit", batch, next=here).url == here
    assert act(root, "take_back", batch, next="https://elsewhere.example/").url == url(BATCHES)


def test_an_action_of_a_filtered_list_returns_to_it(root: Client, batch: MessageBatch) -> None:
    filtered = f"{url(BATCHES)}?state__exact=draft"
    response = root.post(filtered, {"action": "submit", "_selected_action": [batch.pk], "index": "0"})
    assert f'name="next" value="{filtered}"' in response.content.decode()


@pytest.mark.slow
def test_an_action_is_refused_for_more_than_500_rows(root: Client, batch: MessageBatch) -> None:
    MessageBatch.objects.bulk_create(MessageBatch() for _ in range(500))
    data = {"action": "submit", "_selected_action": [batch.pk], "select_across": "1", "index": "0"}
    assert said(root.post(url(BATCHES), data)) == ["At most 500 rows at once. Nothing was done: select fewer."]
    assert not MessageBatch.objects.exclude(state=State.DRAFT).exists()


def test_sending_is_resumed(root: Client, batch: MessageBatch, settings: Any) -> None:
    paused = AccountState.objects.create(alias="default", paused_at=timezone.now(), pause_reason="401")
    sending = AccountState.objects.create(alias="second")
    in_state(batch, State.QUEUED, next_action_at=LATER)
    shown = act(root, "resume", paused, sending, confirmed=False, model=ACCOUNTS).content.decode()
    assert "1 account: default. 1 batch waits to be sent." in shown
    assert "1 skipped: second is not paused. Only paused accounts can be resumed." in shown
    assert 'value="resume"' in page(root, url(ACCOUNTS, "change", paused.pk))
    assert said(act(root, "resume", paused, model=ACCOUNTS)) == ["Sending is resumed for 1 account."]
    paused.refresh_from_db()
    batch.refresh_from_db()
    assert paused.paused_at is None
    assert batch.next_action_at <= timezone.now()
    assert LogEntry.objects.get().change_message == "Resume sending"
    assert 'value="resume"' not in page(root, url(ACCOUNTS, "change", paused.pk))


def test_results_have_no_actions(root: Client, ingested: MessageBatch) -> None:
    assert 'name="action"' not in page(root, url(RESULTS))
