"""An unconfirmed batch: the known facts on its page, and *Identify batch…*."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone
from django.utils.formats import date_format

from django_claude_batches import services
from django_claude_batches.models import MessageBatch, Outcome, RemoteBatch, State, SubmitAttempt
from django_claude_batches.models.batch_state import IDENTIFIABLE
from django_claude_batches.services.submission import close_attempt
from django_claude_batches.testing import ClaudeEmulator
from tests.admin.admin_pages import BATCHES, HOSTILE, act, in_state, page, said, url
from tests.admin.conftest import Staff
from tests.harness.factories import draft, running
from tests.harness.relay import Relay, lose_answer

pytestmark = pytest.mark.django_db

CANDIDATE = {
    "id": "msgbatch_maybe",
    "created_at": "2026-11-22T10:00:00Z",
    "requests": 3,
    "status": "in_progress",
    "why": f"it is in_progress: only its results can prove whose it is {HOSTILE}",
}

THEIRS = "msgbatch_theirs"


def searched_for(
    batch: MessageBatch,
    state: State = State.UNCERTAIN,
    *,
    excluded: Sequence[str] = ("msgbatch_theirs",),
    **columns: Any,
) -> MessageBatch:
    now = timezone.now()
    for number, name in enumerate(excluded):
        at = now + timedelta(seconds=number)
        RemoteBatch.objects.create(account="default", remote_id=name, created_at=at, first_seen_at=now, is_foreign=True)
    known: dict[str, Any] = {
        "candidates": [CANDIDATE],
        "listings_made": 1,
        "body_bytes": 2048,
    }
    SubmitAttempt.objects.create(
        batch=batch,
        number=1,
        tag=f"tag{batch.pk:010d}",
        recorded_at=now,
        sent_at=now,
        watch_until=now,
        outcome=Outcome.UNCERTAIN,
        **{**known, **columns},
    )
    return in_state(batch, state)


@pytest.mark.parametrize("state", sorted(IDENTIFIABLE))
def test_the_page_shows_what_is_known_and_why_a_candidate_is_not_ours_yet(
    root: Client, batch: MessageBatch, state: State
) -> None:
    now = timezone.now()
    searched_for(batch, state, baseline_id="msgbatch_before", baseline_created_at=now)
    shown = page(root, url(BATCHES, "change", batch.pk))
    for text in (
        "What is known",
        "Sent at",
        "2.0\xa0KB",
        "msgbatch_before, ",
        "1; 2 are needed",
        "Watched for late proofs until",
        "msgbatch_maybe",
        date_format(timezone.localtime(datetime(2026, 11, 22, 10, tzinfo=UTC)), "DATETIME_FORMAT"),
        "only its results can prove whose it is",
        "do not have this batch's tag: msgbatch_theirs",
    ):
        assert text in shown
    assert ("Counts as not received no earlier than" in shown) == (state == State.UNCERTAIN)
    assert HOSTILE not in shown


def test_where_nothing_was_found_the_page_says_so(root: Client, batch: MessageBatch) -> None:
    searched_for(batch, candidates=[], excluded=[], body_bytes=None)
    shown = page(root, url(BATCHES, "change", batch.pk))
    assert "None so far." in shown
    assert "do not have this batch" not in shown
    assert "<td>none</td>" in shown
    assert "<td>unknown</td>" in shown


def test_many_candidates_are_counted(root: Client, batch: MessageBatch) -> None:
    ids = [f"msgbatch_{number:02d}" for number in range(25)]
    searched_for(batch, candidates=[{**CANDIDATE, "id": name} for name in ids], excluded=ids[:22])
    shown = page(root, url(BATCHES, "change", batch.pk))
    assert "<p>and 5 more</p>" in shown
    assert "msgbatch_21 and 2 more" in shown


@pytest.mark.parametrize("state", [State.DRAFT, State.INGESTED])
def test_confirmed_batches_do_not_show_the_known_facts(root: Client, batch: MessageBatch, state: State) -> None:
    searched_for(batch, state)
    assert "What is known" not in page(root, url(BATCHES, "change", batch.pk))


def test_the_candidates_are_offered(root: Client, batch: MessageBatch) -> None:
    searched_for(batch)
    shown = act(root, "identify", batch, confirmed=False).content.decode()
    assert 'type="radio" name="id" value="msgbatch_maybe"' in shown
    assert 'name="typed_id"' in shown
    assert HOSTILE not in shown
    assert 'type="radio"' not in act(root, "identify", in_state(draft(1), State.HELD), confirmed=False).content.decode()


@pytest.mark.parametrize(
    "fields",
    [
        {"id": "msgbatch_maybe"},
        {"typed_id": " msgbatch_maybe "},
        {"id": "msgbatch_other", "typed_id": "msgbatch_maybe"},
    ],
)
def test_it_is_recorded_for_a_worker(root: Client, batch: MessageBatch, fields: dict[str, Any]) -> None:
    searched_for(batch)
    MessageBatch.objects.filter(pk=batch.pk).update(next_action_at="2999-01-01T00:00Z")
    assert said(act(root, "identify", batch, **fields)) == ["1 id is verified shortly."]
    batch.refresh_from_db()
    assert (batch.identified_id, batch.state) == ("msgbatch_maybe", State.UNCERTAIN)
    assert MessageBatch.objects.due().get() == batch
    assert batch.events.get(what="identification_requested").by_name == "ada"
    assert LogEntry.objects.get().change_message == "Identify batch…"
    assert "Id to be verified: msgbatch_maybe" in page(root, url(BATCHES, "change", batch.pk))


@pytest.mark.parametrize("given", ["", "12", "msgbatch_a/../b", "batch_01", HOSTILE])
def test_what_is_no_id_is_said_and_nothing_is_recorded(root: Client, batch: MessageBatch, given: str) -> None:
    searched_for(batch)
    before = MessageBatch.objects.values().get()
    response = act(root, "identify", batch, typed_id=given)
    shown = response.content.decode()
    assert response.status_code == 200
    assert "Nothing was done: a batch&#x27;s id looks like msgbatch_01…, not “" in shown
    assert 'name="typed_id"' in shown
    assert HOSTILE not in shown
    assert MessageBatch.objects.values().get() == before
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize("confirmed", [True, False])
def test_several_batches_cannot_be_identified_at_once(root: Client, batch: MessageBatch, confirmed: bool) -> None:
    other = in_state(draft(3), State.HELD)
    searched_for(batch)
    response = act(root, "identify", batch, other, confirmed=confirmed, typed_id="msgbatch_maybe")
    assert said(response) == ["An id identifies one batch. Nothing was done: select one row."]
    assert not MessageBatch.objects.exclude(identified_id="").exists()


def test_a_post_made_by_hand_needs_the_permission(staff: Staff, batch: MessageBatch) -> None:
    searched_for(batch)
    client = staff("view_messagebatch", "advance_messagebatch")
    act(client, "identify", batch, typed_id="msgbatch_maybe")
    batch.refresh_from_db()
    assert batch.identified_id == ""


@pytest.fixture
def lost(claude: ClaudeEmulator) -> MessageBatch:
    """A batch that was created at the emulator, but whose create call got no answer."""
    with Relay(claude.url) as relay:
        relay.on("POST", "/batches", lose_answer, times=1)
        return services.advance(services.submit(draft(3)))


def test_a_worker_verifies_it(claude: ClaudeEmulator, root: Client, lost: MessageBatch) -> None:
    remote_id = claude.batches[0].id
    claude.finish()
    act(root, "abandon", lost, word="abandon")
    act(root, "identify", lost, typed_id=remote_id)
    services.advance(lost)
    assert (lost.anthropic_id, lost.state) == (remote_id, State.INGESTED)
    assert "What is known" not in page(root, url(BATCHES, "change", lost.pk))


def test_a_refused_identification_is_shown_with_the_reason(
    claude: ClaudeEmulator, root: Client, lost: MessageBatch
) -> None:
    stranger = running(5)
    act(root, "identify", lost, typed_id=str(stranger.anthropic_id))
    services.advance(lost)
    assert lost.state == State.UNCERTAIN
    shown = page(root, url(BATCHES, "change", lost.pk))
    assert f"{stranger.anthropic_id} is batch #{stranger.pk} " in shown
    assert "here, which submitted it." in shown
    assert "Identification refused" in shown
    assert claude.batches[0].id in shown
    assert "only its results can prove whose it is" in shown


def in_doubt(batch: MessageBatch) -> MessageBatch:
    """Hold the batch: it may have been billed, and that can no longer be known."""
    searched_for(batch)
    close_attempt.hold_undecided(batch, batch.attempts.get(), "it is a test")
    assert batch.state == State.HELD
    return batch


class TestMayHaveBeenBilled:
    def test_the_page_says_so(self, root: Client, batch: MessageBatch) -> None:
        shown = page(root, url(BATCHES, "change", in_doubt(batch).pk))
        assert "It may have been billed: it is a test." in shown
        assert 'value="declare_lost"' in shown

    def test_one_is_submitted_again_by_a_person_who_types_that(self, root: Client, batch: MessageBatch) -> None:
        in_doubt(batch)
        shown = act(root, "submit", batch, confirmed=False).content.decode()
        assert "This batch may have been billed before, and would then be paid for twice." in shown
        for word in ("", "yes"):
            assert "type “send again” to confirm" in act(root, "submit", batch, word=word).content.decode()
        batch.refresh_from_db()
        assert batch.state == State.HELD
        act(root, "submit", batch, word="Send again")
        batch.refresh_from_db()
        assert batch.state == State.QUEUED
        assert batch.events.last().text == "although it may have been billed before"

    def test_among_several_it_is_skipped(self, root: Client, batch: MessageBatch) -> None:
        other = draft(1)
        response = act(root, "submit", in_doubt(batch), other)
        assert any(f"#{batch.pk} may have been billed already: submit it alone" in text for text in said(response))
        for row, state in ((batch, State.HELD), (other, State.QUEUED)):
            row.refresh_from_db()
            assert row.state == state

    def test_it_is_declared_lost_on_a_page_that_names_what_is_unknown(self, root: Client, batch: MessageBatch) -> None:
        in_doubt(batch)
        shown = act(root, "declare_lost", batch, confirmed=False).content.decode()
        assert "It is not known whether" in shown
        act(root, "declare_lost", batch, word="declare lost")
        batch.refresh_from_db()
        assert batch.state == State.ABANDONED


@pytest.mark.parametrize(
    ("workspace_id", "unknown"),
    [("", "It is not known in which Workspace"), ("wrkspc_x", "belongs to another Workspace than wrkspc_x")],
)
def test_what_is_missing_is_declared_lost_on_a_page_that_names_what_is_unknown(
    root: Client, batch: MessageBatch, workspace_id: str, unknown: str
) -> None:
    in_state(
        batch, State.IN_PROGRESS, workspace_id=workspace_id, misses=3, missed_at=timezone.now() - timedelta(hours=1)
    )
    assert unknown in act(root, "declare_lost", batch, confirmed=False).content.decode()
    act(root, "declare_lost", batch, word="declare lost")
    batch.refresh_from_db()
    assert batch.state == State.LOST
