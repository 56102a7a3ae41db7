from __future__ import annotations

from collections.abc import Iterator

import pytest

from django_claude_batches.models import MessageBatch
from django_claude_batches.testing import ClaudeEmulator
from tests.making import draft


@pytest.fixture
def claude() -> Iterator[ClaudeEmulator]:
    with ClaudeEmulator(seed=1) as emulator:
        yield emulator


@pytest.fixture
def batch(db: None) -> MessageBatch:
    """A draft of three requests."""
    return draft(3)
