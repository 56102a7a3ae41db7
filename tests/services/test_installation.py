"""A copy of production's database, with production's key, does nothing to production's batches."""

from __future__ import annotations

from typing import Any

import pytest

from django_claude_batches import checks, services
from django_claude_batches.exceptions import OtherInstallation
from django_claude_batches.models import AccountState, State
from django_claude_batches.services.engine import tick
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import draft, in_state, make_due, running

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def name(settings: Any, installation: str) -> None:
    settings.CLAUDE_BATCHES = {"KICK": False, "INSTALLATION": installation}


def test_the_first_one_writes_its_name_down(claude: ClaudeEmulator, settings: Any) -> None:
    name(settings, "production")
    batch = running()
    assert AccountState.objects.get().installation == "production"
    claude.finish()
    assert services.advance(batch).state == State.INGESTED


def test_a_copy_sends_polls_fetches_cancels_and_deletes_nothing(claude: ClaudeEmulator, settings: Any) -> None:
    name(settings, "production")
    polled, canceled, done = running(), running(), running()
    claude.finish(done.anthropic_id)
    services.advance(done)
    name(settings, "staging")
    queued, unconfirmed = services.submit(draft(1)), in_state(State.UNCERTAIN)
    services.cancel(canceled)
    services.delete_remote(done)
    calls = len(claude.requests)
    for batch in (queued, canceled, done, unconfirmed):
        with pytest.raises(
            OtherInstallation, match='is "production"\'s, and the settings say INSTALLATION = "staging"'
        ):
            services.advance(batch)
    make_due(polled)
    tick(lambda pk: None)
    with pytest.raises(OtherInstallation):
        services.adopt("msgbatch_01x")
    assert len(claude.requests) == calls
    polled.refresh_from_db()
    assert (polled.state, queued.state) == (State.IN_PROGRESS, State.QUEUED)
    assert "claude_batches confirm-installation default" in polled.last_error
    assert services.confirm_installation("default") == "production"
    assert services.advance(queued).state == State.IN_PROGRESS


def test_without_a_name_nothing_is_compared(claude: ClaudeEmulator, settings: Any) -> None:
    name(settings, "production")
    batch = running()
    name(settings, "")
    claude.finish()
    assert services.advance(batch).state == State.INGESTED


def test_deploying_without_a_name_is_warned_of(settings: Any) -> None:
    (warning,) = checks.check_installation(app_configs=None)
    assert warning.id == "django_claude_batches.W004"
    name(settings, "production")
    assert checks.check_installation(app_configs=None) == []
    name(settings, "x" * 101)
    assert checks.check_installation(app_configs=None) == []
    (error,) = checks.check_settings(app_configs=None)
    assert "INSTALLATION" in error.msg
