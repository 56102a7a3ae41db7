"""What stands above the pages while nothing moves."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.models import AccountState, MessageBatch, State
from django_claude_batches.testing import ClaudeEmulator
from tests.admin.conftest import Staff
from tests.admin.making import ACCOUNTS, BATCHES, HOSTILE, RESULTS, act, in_state, page, url

pytestmark = pytest.mark.django_db
STILL = "Nothing is moving. Start a worker and beat, or run `manage.py claude_batches tick --loop`."


def test_work_that_is_due_without_a_tick_is_said_on_every_page(root: Client, batch: MessageBatch) -> None:
    in_state(batch, State.QUEUED)
    pages = [page(root, url(model)) for model in (BATCHES, RESULTS, ACCOUNTS)]
    pages.append(page(root, url(BATCHES, "change", batch.pk)))
    pages.append(act(root, "take_back", batch, confirmed=False).content.decode())
    assert all(STILL in shown for shown in pages)


def test_it_is_not_said_of_drafts_nor_of_what_is_due_later(root: Client, batch: MessageBatch) -> None:
    assert STILL not in page(root, url(BATCHES))
    in_state(batch, State.QUEUED, next_action_at=timezone.now() + timedelta(hours=1))
    assert STILL not in page(root, url(BATCHES))


@pytest.mark.parametrize(("seconds", "still"), [(0, False), (60, False), (120, True)])
def test_a_tick_within_90_seconds_is_movement(root: Client, batch: MessageBatch, seconds: int, still: bool) -> None:
    in_state(batch, State.QUEUED)
    AccountState.objects.create(alias="default", last_tick_at=timezone.now() - timedelta(seconds=seconds))
    assert (STILL in page(root, url(BATCHES))) == still


def test_a_paused_account_is_said_with_its_reason(root: Client, staff: Staff) -> None:
    AccountState.objects.create(alias="default", paused_at=timezone.now(), pause_reason=f"401 {HOSTILE}")
    shown = page(root, url(BATCHES))
    assert "Sending is paused for &quot;default&quot;: 401 " in shown
    assert "Running batches are still fetched. When that is mended, Resume." in shown
    assert HOSTILE not in shown
    assert f'<a href="{url(ACCOUNTS)}">Accounts</a>' in shown
    assert url(ACCOUNTS) not in page(staff("view_messagebatch"), url(BATCHES))


def test_a_refused_key_is_said_in_plain_words(
    root: Client, claude: ClaudeEmulator, batch: MessageBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "a-wrong-key")
    services.advance(services.submit(batch))
    assert (
        "Sending is paused for &quot;default&quot;: Anthropic refused the key (401). Running batches are still "
        "fetched. Replace the key, then Resume."
    ) in page(root, url(BATCHES))


def test_a_pause_that_ends_by_itself_says_when(root: Client) -> None:
    now = timezone.now()
    account = AccountState.objects.create(alias="default", paused_at=now, paused_until=now + timedelta(hours=1))
    shown = page(root, url(BATCHES))
    assert "Sending is paused for &quot;default&quot;: " in shown
    assert "It is resumed by itself at " in shown
    AccountState.objects.filter(pk=account.pk).update(paused_until=now - timedelta(seconds=1))
    assert "Sending is paused" not in page(root, url(BATCHES))


def test_the_words_are_for_those_who_may_see_the_page(staff: Staff, batch: MessageBatch) -> None:
    in_state(batch, State.QUEUED)
    response = staff().get(url(BATCHES))
    assert response.status_code == 403
    assert STILL not in response.content.decode()
