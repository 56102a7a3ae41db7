"""Waiting for a batch in the calling process."""

from __future__ import annotations

import time

import pytest

from django_claude_batches import services
from django_claude_batches.exceptions import InvalidTransition, WaitTimeout
from django_claude_batches.models import State
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import draft
from tests.harness.relay import Relay, lose_answer, refuse

pytestmark = pytest.mark.django_db


class TestWaiting:
    def test_until_it_is_complete(self) -> None:
        seen: list[str] = []
        with ClaudeEmulator(seconds=0.3):
            batch = services.submit(draft(2))
            services.wait(batch, timeout=30, poll_interval=0.1, progress=lambda batch: seen.append(batch.state))
        assert batch.state == State.INGESTED
        assert seen[0] == State.IN_PROGRESS
        assert seen[-1] == State.INGESTED

    def test_not_longer_than_asked(self, claude: ClaudeEmulator) -> None:
        batch = services.submit(draft(1))
        started = time.monotonic()
        with pytest.raises(WaitTimeout, match="still: Running at Anthropic") as caught:
            services.wait(batch, timeout=0.3, poll_interval=0.1)
        assert time.monotonic() - started < 5
        assert caught.value.last_status == State.IN_PROGRESS
        assert isinstance(caught.value, TimeoutError)

    def test_not_for_what_waits_for_a_person(self, claude: ClaudeEmulator) -> None:
        with Relay(claude.url) as relay:
            relay.on("POST", "/batches", lose_answer, times=1)
            assert services.wait(services.submit(draft(1)), timeout=30).state == State.UNCERTAIN
            relay.on("POST", "/batches", refuse(400))
            assert services.wait(services.submit(draft(1)), timeout=30).state == State.REJECTED

    def test_not_for_a_draft(self) -> None:
        with pytest.raises(InvalidTransition, match="not submitted"):
            services.wait(draft(1))
