"""Whose a batch is, by the first lines of its results."""

from __future__ import annotations

import pytest

from django_claude_batches.services.connection import connect
from django_claude_batches.services.reconciliation import proof
from django_claude_batches.testing import ClaudeEmulator
from tests.harness.factories import running

pytestmark = pytest.mark.django_db


def test_a_reading_ends_in_time_also_within_a_long_line(
    claude: ClaudeEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof, "READ_SECONDS", 0.2)
    batch = running(1)
    claude.finish()
    claude.fault("trickle", piece_bytes=1, pause=0.02, on="results")
    reading = proof.read(connect(batch.account), str(batch.anthropic_id))
    assert (reading.lines, reading.why) == (0, "its first results did not come within 0.2 s")
    assert proof.read(connect(batch.account), str(batch.anthropic_id)).attempt == batch.last_attempt
