"""The notices above the pages: no tick, accounts, deadlines, unconfirmed batches, and failed checks."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin import site
from django.contrib.auth.models import User
from django.test import Client, RequestFactory
from django.utils import timezone

from django_claude_batches import services
from django_claude_batches.admin.base.permissions import Viewer
from django_claude_batches.admin.notices.notices import notices
from django_claude_batches.models import AccountState, MessageBatch, State
from django_claude_batches.testing import ClaudeEmulator
from tests.admin.admin_pages import ACCOUNTS, BATCHES, HOSTILE, RESULTS, STILL, act, in_state, page, url
from tests.admin.conftest import Staff
from tests.harness.factories import draft
from tests.harness.selections import slow_but

pytestmark = pytest.mark.django_db


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
    assert "Running batches are still fetched. When that is fixed, Resume." in shown
    assert HOSTILE not in shown
    account = AccountState.objects.get()
    assert f'<a href="{url(ACCOUNTS, "change", account.pk)}">Account default</a>' in shown
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
    assert "It resumes automatically at " in shown
    AccountState.objects.filter(pk=account.pk).update(paused_until=now - timedelta(seconds=1))
    assert "Sending is paused" not in page(root, url(BATCHES))


def test_a_slow_account_is_said_with_since_when(root: Client) -> None:
    now = timezone.now()
    account = AccountState.objects.create(alias="default", slow_since=now - timedelta(days=1), slow_at=now)
    slow = "The server of &quot;default&quot; has not answered in time since "
    assert slow in page(root, url(BATCHES))
    assert "Slow since " in page(root, url(ACCOUNTS))
    assert "Slow since " in page(root, url(ACCOUNTS, "change", account.pk))
    AccountState.objects.filter(pk=account.pk).update(slow_at=now - timedelta(minutes=11))
    assert slow not in page(root, url(BATCHES))
    assert "Sends" in page(root, url(ACCOUNTS))


@pytest.mark.parametrize(
    ("state", "hours", "words"),
    slow_but(
        2,
        [
            (State.IN_PROGRESS, 23.5, "1 batch has been running for 23 hours"),
            (State.CANCELING, 23.5, "1 batch has been running for 23 hours"),
            (State.ENDED, 27.5 * 24, "1 batch has results that are not all stored"),
            (State.INCOMPLETE, 40 * 24, "1 batch has results that are not all stored"),
        ],
    ),
)
@pytest.mark.usefixtures("ticking")
def test_batches_near_a_deadline_have_a_notice_with_a_link(
    root: Client, batch: MessageBatch, state: State, hours: float, words: str
) -> None:
    in_state(batch, state, created_at=timezone.now() - timedelta(hours=hours))
    other = in_state(draft(1, label="Another"), state)
    address = f"{url(BATCHES)}?nearing=yes"
    for shown in (page(root, url(BATCHES)), page(root, url(BATCHES, "change", other.pk)), page(root, url(RESULTS))):
        assert words in shown
        assert f'<a href="{address}">Show them</a>' in shown
    found = page(root, address)
    assert url(BATCHES, "change", batch.pk) in found
    assert url(BATCHES, "change", other.pk) not in found
    own = (
        "they can be fetched for less than 2 more days." if hours > 24 else "after 24 hours expires and is not billed."
    )
    assert own in page(root, url(BATCHES, "change", batch.pk))
    assert f'<p class="dcb-error">{own[:4]}' not in page(root, url(BATCHES, "change", other.pk))


@pytest.mark.usefixtures("ticking")
def test_batches_far_from_a_deadline_or_complete_have_no_notice(root: Client) -> None:
    soon, past = timezone.now() - timedelta(hours=22), timezone.now() - timedelta(days=28)
    for state, created_at in ((State.IN_PROGRESS, soon), (State.ENDED, soon), (State.INGESTED, past)):
        in_state(draft(1), state, created_at=created_at)
    assert "dcb-notices" not in page(root, url(BATCHES))


@pytest.mark.usefixtures("ticking")
def test_notices_count_up_to_a_limit_and_link_only_to_pages_that_the_user_may_view(
    root: Client, staff: Staff, batch: MessageBatch, django_assert_max_num_queries: Any
) -> None:
    long_ago = timezone.now() - timedelta(hours=23.5)
    MessageBatch.objects.bulk_create(
        MessageBatch(
            state=State.IN_PROGRESS, anthropic_id=f"msgbatch_{n}", created_at=long_ago, next_action_at=timezone.now()
        )
        for n in range(150)
    )
    with django_assert_max_num_queries(10) as captured:
        assert "More than 100 batches have been running for 23 hours" in page(root, url(BATCHES))
    assert any("LIMIT 101" in query["sql"] for query in captured)
    shown = page(staff("view_batchresult"), url(RESULTS))
    assert "More than 100 batches have been running for 23 hours" in shown
    assert url(BATCHES) not in shown


@pytest.mark.usefixtures("ticking")
def test_what_the_last_audit_found_is_said_until_the_next_finds_nothing(root: Client, staff: Staff) -> None:
    accounts = AccountState.objects.filter(alias="default")
    accounts.update(audited_at=timezone.now(), audit_findings=3)
    shown = page(root, url(BATCHES))
    assert "The audit of &quot;default&quot; at " in shown
    assert "found 3 problems that require a person." in shown
    assert "Its page says what to do." in shown
    shown = page(staff("view_messagebatch"), url(BATCHES))
    assert "`manage.py claude_batches audit --account default` says what to do." in shown
    accounts.update(audit_findings=0)
    assert "The audit of" not in page(root, url(BATCHES))


def test_notices_are_shown_only_to_users_who_may_view_the_page(staff: Staff, batch: MessageBatch) -> None:
    in_state(batch, State.QUEUED)
    response = staff().get(url(BATCHES))
    assert response.status_code == 403
    assert STILL not in response.content.decode()


@pytest.mark.usefixtures("ticking")
def test_what_is_not_confirmed_is_said_with_a_link(root: Client, staff: Staff, batch: MessageBatch) -> None:
    in_state(batch, State.UNCERTAIN)
    address = f"{url(BATCHES)}?state__exact=uncertain"
    shown = page(root, url(RESULTS))
    assert "1 batch was sent and is not confirmed: it may be running and billed." in shown
    assert f'<a href="{address}">Show them</a>' in shown
    assert url(BATCHES, "change", batch.pk) in page(root, address)
    assert address not in page(staff("view_batchresult"), url(RESULTS))


def test_the_notice_without_a_tick_links_to_the_accounts(root: Client, batch: MessageBatch) -> None:
    in_state(batch, State.QUEUED)
    assert f'<a href="{url(ACCOUNTS)}">When the last tick was</a>' in page(root, url(BATCHES))


@pytest.mark.parametrize("address", slow_but(1, [url(BATCHES), url(RESULTS), url(ACCOUNTS)]))
def test_settings_that_cannot_be_read_are_said_and_break_no_page(root: Client, settings: Any, address: str) -> None:
    settings.CLAUDE_BATCHES = {"KIK": True}
    assert "django_claude_batches.E003: CLAUDE_BATCHES has no setting &quot;KIK&quot;" in page(root, address)


def test_the_page_of_a_draft_opens_with_settings_that_cannot_be_read(
    root: Client, settings: Any, batch: MessageBatch
) -> None:
    settings.CLAUDE_BATCHES = {"KIK": True}
    assert "django_claude_batches.E003" in page(root, url(BATCHES, "change", batch.pk))


def test_a_check_that_warns_is_said_with_its_hint_until_it_is_silenced(root: Client, settings: Any) -> None:
    settings.CELERY_BEAT_SCHEDULE = {}
    shown = page(root, url(BATCHES))
    assert "django_claude_batches.W003: CELERY_BEAT_SCHEDULE has no entry for our tick" in shown
    assert "Add **BEAT_SCHEDULE" in shown
    settings.SILENCED_SYSTEM_CHECKS = ["django_claude_batches.W003"]
    assert "W003" not in page(root, url(BATCHES))
    assert "django_claude_batches." not in page(root, url(ACCOUNTS))


def test_the_notices_cost_one_query(
    root: Client, ticking: AccountState, batch: MessageBatch, django_assert_num_queries: Any
) -> None:
    for state in (State.UNCERTAIN, State.QUEUED):
        in_state(draft(1), state)
    request = RequestFactory().get("/")
    request.user = User.objects.get(username="ada")
    with django_assert_num_queries(1):
        assert len(notices(Viewer(request, site))) == 1


GROUP = re.compile("<details><summary>([^<]*)</summary>(.*?)</details>", re.DOTALL)


@pytest.mark.usefixtures("ticking")
def test_one_thing_is_shown_at_once_and_more_unfold_from_their_number(root: Client, batch: MessageBatch) -> None:
    in_state(batch, State.UNCERTAIN)
    shown = page(root, url(BATCHES))
    assert "1 batch was sent and is not confirmed" in shown
    assert "<details><summary>" not in shown
    accounts = AccountState.objects.filter(alias="default")
    accounts.update(audited_at=timezone.now(), audit_findings=3)
    [(heading, notices)] = GROUP.findall(page(root, url(BATCHES)))
    assert heading == "2 things need attention"
    assert "is not confirmed" in notices
    assert "The audit of" in notices


def test_what_only_the_server_s_people_can_change_is_a_second_notice_for_superusers(
    root: Client, staff: Staff, settings: Any, batch: MessageBatch
) -> None:
    in_state(batch, State.QUEUED)
    settings.CLAUDE_BATCHES = {"KIK": True}
    [(heading, notices)] = GROUP.findall(page(root, url(BATCHES)))
    assert heading == "2 things about the server need attention"
    assert "has no setting &quot;KIK&quot;" in notices
    assert STILL in notices
    others = page(staff("view_messagebatch"), url(BATCHES))
    assert "KIK" not in others
    assert STILL not in others
    assert "Nothing is moving: no worker was seen lately." in others
