"""`submit`, `cancel`, `delete`, `abandon` and `resume`: what is only recorded."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.models import AccountState, MessageBatch, State
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import draft, item
from tests.management.conftest import Manage

pytestmark = pytest.mark.django_db


def put(batch: MessageBatch, state: State) -> MessageBatch:
    """Put a batch into a state in which nothing is at Anthropic for sure."""
    now = timezone.now()
    MessageBatch.objects.filter(pk=batch.pk).update(state=state, next_action_at=now, queued_at=now)
    batch.refresh_from_db()
    return batch


def test_submit_queues_all_that_are_named(manage: Manage) -> None:
    one, two = draft(), draft()
    ran = manage("submit", one.pk, f"#{two.pk}", one.pk, "--json")
    assert [shown["id"] for shown in ran.document["batches"]] == [one.pk, two.pk]
    assert set(MessageBatch.objects.values_list("state", flat=True)) == {State.QUEUED}


def test_one_that_cannot_be_submitted_leaves_the_others_alone(manage: Manage) -> None:
    one, running = draft(), put(draft(), State.UNCERTAIN)
    ran = manage("submit", one.pk, running.pk)
    assert ran.code == 1
    assert f"Cannot submit batch #{running.pk}, which is Sent, not confirmed" in ran.err
    one.refresh_from_db()
    assert one.state == State.DRAFT
    assert ran.out == ""


def test_unknown_batches(manage: Manage, batch: MessageBatch) -> None:
    number, remote = manage("submit", batch.pk, 9999), manage("cancel", "msgbatch_unknown")
    assert (number.code, remote.code) == (1, 1)
    assert "There is no batch #9999" in number.err
    assert "`claude_batches adopt msgbatch_unknown` takes it over" in remote.err
    batch.refresh_from_db()
    assert batch.state == State.DRAFT


def test_submitting_wakes_a_worker(
    manage: Manage,
    claude: ClaudeEmulator,
    batch: MessageBatch,
    settings: Any,
    celery_in_this_process: None,
    django_capture_on_commit_callbacks: Callable[..., AbstractContextManager[list[Any]]],
) -> None:
    settings.CLAUDE_BATCHES = {"KICK": True}
    with django_capture_on_commit_callbacks(execute=True):
        manage("submit", batch.pk)
    batch.refresh_from_db()
    assert batch.state == State.IN_PROGRESS


def test_cancel_takes_a_queued_batch_back(manage: Manage, batch: MessageBatch) -> None:
    services.submit(batch)
    ran = manage("cancel", batch.pk)
    assert ran.code == 0
    assert "Draft" in ran.out
    refused = manage("cancel", batch.pk)
    assert refused.code == 1
    assert "Cannot cancel batch" in refused.err


def test_cancel_a_running_one_by_its_id(manage: Manage, claude: ClaudeEmulator, batch: MessageBatch) -> None:
    services.advance(services.submit(batch))
    assert manage("cancel", batch.anthropic_id).code == 0
    services.advance(batch)
    assert batch.state == State.CANCELING


@pytest.mark.parametrize("discard", [False, True])
def test_delete_records_the_wish(manage: Manage, claude: ClaudeEmulator, batch: MessageBatch, discard: bool) -> None:
    services.advance(services.submit(batch))
    ran = manage("delete-remote", batch.pk, *(["--discard-results"] if discard else []))
    batch.refresh_from_db()
    assert ran.code == 0
    assert batch.delete_requested_at is not None
    assert batch.discard_results is discard


def test_a_draft_cannot_be_deleted_at_anthropic(manage: Manage, batch: MessageBatch) -> None:
    ran = manage("delete-remote", batch.pk)
    assert ran.code == 1
    assert "Cannot delete at Anthropic batch" in ran.err


def test_give_up(manage: Manage, batch: MessageBatch) -> None:
    assert manage("abandon", batch.pk).code == 1
    put(batch, State.UNCERTAIN)
    ran = manage("abandon", batch.pk)
    assert (ran.code, "Abandoned" in ran.out) == (0, True)


def test_resume_lets_a_paused_account_send_again(
    manage: Manage, claude: ClaudeEmulator, batch: MessageBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "a-wrong-key")
    services.advance(services.submit(batch))
    assert AccountState.objects.paused().exists()
    ran = manage("resume", "--json")
    assert ran.document == {"account": "default", "waiting": 1}
    assert not AccountState.objects.paused().exists()
    unknown = manage("resume", "other")
    assert (unknown.code, 'Unknown account "other"' in unknown.err) == (1, True)


def test_reingest_fetches_again(manage: Manage, claude: ClaudeEmulator, batch: MessageBatch) -> None:
    services.advance(services.submit(batch))
    assert "Cannot fetch again the results of batch" in manage("reingest", batch.pk).err
    claude.finish()
    services.advance(batch)
    ran = manage("reingest", batch.pk)
    assert (ran.code, "Finished, fetching results" in ran.out) == (0, True)


def test_what_is_above_a_limit_is_submitted_only_with_yes(
    manage: Manage, batch: MessageBatch, settings: Any, jsonl: Callable[[bytes | str], Any]
) -> None:
    settings.CLAUDE_BATCHES = {"KICK": False, "CONFIRM_ABOVE_REQUESTS": 2, "CONFIRM_ABOVE_USD": None}
    refused = manage("submit", batch.pk)
    assert refused.code == 1
    assert "Not submitted: 3 requests, estimate " in refused.err
    assert f"claude_batches submit {batch.pk} --yes" in refused.err
    batch.refresh_from_db()
    assert batch.state == State.DRAFT
    assert manage("submit", batch.pk, "--yes").code == 0
    lines = jsonl("".join(json.dumps(item(number)) + "\n" for number in range(3)))
    drafted = manage("draft", lines, "--submit")
    assert (drafted.code, MessageBatch.objects.latest("pk").state) == (1, State.DRAFT)
    assert f"claude_batches submit {MessageBatch.objects.latest('pk').pk} --yes" in drafted.err
    assert manage("draft", lines, "--submit", "--yes").code == 0
    assert MessageBatch.objects.latest("pk").state == State.QUEUED
