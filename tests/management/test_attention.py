"""What needs attention is the same everywhere, and each place can say why."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from django_claude_batches import services
from django_claude_batches.conf import ConfigurationError
from django_claude_batches.db.leases import DatabaseNow
from django_claude_batches.models import AccountState, JobRun, MessageBatch, RunState, State
from django_claude_batches.models.run_attention import attention, needing_attention
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import draft, in_state, make_due, running
from tests.harness.selections import slow_but
from tests.management.conftest import Manage

pytestmark = [pytest.mark.django_db, pytest.mark.database]

LIST = "admin:django_claude_batches_messagebatch_changelist"
RUNS = "admin:django_claude_batches_jobrun_changelist"
NEEDING = frozenset({State.UNCERTAIN, State.HELD, State.REJECTED, State.INCOMPLETE, State.LOST})


def paused_account() -> MessageBatch:
    AccountState.objects.create(alias="default", paused_at=DatabaseNow(), pause_reason="The key was refused.")
    return in_state(State.QUEUED)


STANDING: dict[str, tuple[Any, bool]] = {
    **{state: (lambda state=state: in_state(state), state in NEEDING) for state in State},
    "missing results": (lambda: in_state(State.INGESTED, missing_count=2), True),
    "a receiver raised": (lambda: in_state(State.INGESTED, last_error="LookupError: no such tag"), True),
    "paused account": (paused_account, True),
    "not found once": (lambda: in_state(State.IN_PROGRESS, misses=1), False),
    "not found": (lambda: in_state(State.IN_PROGRESS, misses=2), True),
    "not found, fetching": (lambda: in_state(State.ENDED, misses=3), True),
    "failed twice": (lambda: in_state(State.ENDED, failures=2, last_error="A timeout"), False),
    "failed again and again": (lambda: in_state(State.QUEUED, failures=3, last_error="No key"), True),
}


@pytest.mark.parametrize("standing", slow_but(2, STANDING))
def test_all_go_by_one_definition(standing: str, admin_client: Client, manage: Manage) -> None:
    make, needs_it = STANDING[standing]
    batch = make()
    words = batch.attention()
    listed = admin_client.get(reverse(LIST), {"attention": "yes"}).context["cl"].result_list
    told = {one.name: one for one in services.diagnose(offline=True)}["attention"].words
    status = manage("status", batch.pk, "--json")
    found = {
        "queryset": batch in MessageBatch.objects.needing_attention(),
        "words": bool(words),
        "filter": batch in listed,
        "status": status.code == 4,
        "json": status.document["batches"][0]["attention"] == words != "",
        "doctor": words in told if words else False,
    }
    assert found == dict.fromkeys(found, needs_it)


@pytest.mark.parametrize(
    ("changes", "needs_it"),
    slow_but(
        2,
        [
            ({"left_out_count": 3}, True),
            ({"left_out_count": 3, "row_count": 1}, False),
            ({}, False),
            ({"left_out_count": 3, "state": RunState.CANCELED}, False),
            ({"left_out_count": 3, "state": RunState.DRAFTING, "next_action_at": DatabaseNow()}, False),
        ],
    ),
)
def test_a_run_that_asked_nothing_and_left_rows_out(
    changes: dict[str, Any], needs_it: bool, admin_client: Client, manage: Manage
) -> None:
    run = JobRun.objects.create(job="gone", **{"state": RunState.FINISHED, **changes})
    words = "All rows were left out because none of them could be sent. Correct that, then start the job again."
    listed = admin_client.get(reverse(RUNS), {"attention": "yes"}).context["cl"].result_list
    told = {one.name: one for one in services.diagnose(offline=True)}["attention"].words
    found = {
        "queryset": run in needing_attention(JobRun.objects.all()),
        "words": attention(run) == words,
        "filter": run in listed,
        "runs": words in manage("runs").out,
        "json": manage("runs", "--json").document["runs"][0]["attention"] == words,
        "doctor": words in told,
    }
    assert found == dict.fromkeys(found, needs_it)


def test_a_batch_whose_account_has_no_key(claude: ClaudeEmulator, settings: Any) -> None:
    settings.CLAUDE_BATCHES = {"KICK": False, "ACCOUNTS": {"keyless": {}}}
    batch = services.submit(draft(1, account="keyless"))
    assert batch.explanation.startswith("Goes out within about 30 seconds.")
    for tries in range(1, 4):
        with pytest.raises(ConfigurationError):
            services.advance(batch)
        batch.refresh_from_db()
        assert "No API key" in batch.explanation
        assert "30 seconds" not in batch.explanation
        assert bool(batch.attention()) == (tries == 3)
        make_due(batch)
    assert batch.attention().startswith("It failed 3 times in a row: No API key")


def test_a_batch_that_anthropic_does_not_find(claude: ClaudeEmulator) -> None:
    batch = running(1)
    claude.fault("empty_listing", times=None)
    claude.fault("not_found", on="retrieve", times=None)
    for misses in (1, 2):
        make_due(batch)
        services.advance(batch)
        assert (batch.state, batch.misses) == (State.IN_PROGRESS, misses)
    assert batch.attention() == "Anthropic answered 2 times in a row that this batch does not exist."
