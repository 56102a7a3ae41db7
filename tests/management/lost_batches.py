"""Batches whose create call got no answer."""

from __future__ import annotations

from django_claude_batches import services
from django_claude_batches.models import MessageBatch, State
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import draft
from tests.harness.relay import Relay, Rule, lose_answer


def lose(claude: ClaudeEmulator, *, how: Rule = lose_answer) -> MessageBatch:
    with Relay(claude.url) as relay:
        relay.on("POST", "/batches", how, times=1)
        batch = services.advance(services.submit(draft(3)))
    assert batch.state == State.UNCERTAIN
    return batch
